"""Under load: what is busy rests alone, what is still at the provider counts, and questions follow the backlog."""

import asyncio
from typing import Any

import httpx
import pytest

from service.ports.work import EVERY_TYPE, TaskTypes
from service.workers import checks
from service.workers.pace import FEWEST, LEAST, MOST, Pace
from service.workers.rests import FIRST_PAUSE, LONGEST_PAUSE, RouteRests
from tests.conftest import PATIENCE, Service, running, txt2img
from tests.samples import asked, piapi, provider_response

NOW = 1_770_000_000_000
LLM = frozenset({"chat-completions", "image-generations"})


def chat(sandbox: str) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": f"hello [sandbox: {sandbox}]"}]}
    return {"provider": "piapi", "model": "gpt-4o-mini", "task_type": "chat-completions", "input": asked}


def test_a_busy_route_rests_alone() -> None:
    rests = RouteRests({"llm": LLM})
    assert rests.open(0) == EVERY_TYPE
    rests.rest("chat-completions", 10, now=0)
    assert rests.open(5) == TaskTypes(LLM, excluded=True)
    rests.rest("txt2img", 10, now=2)
    assert rests.open(5) is None
    assert rests.open(11) == TaskTypes(LLM, excluded=False)
    assert rests.open(13) == EVERY_TYPE


def test_a_rest_without_a_time_grows_until_a_task_is_taken() -> None:
    rests = RouteRests({})
    assert [rests.rest("x", None, 0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE]
    rests.took("x")
    assert rests.rest("x", None, 0) == FIRST_PAUSE


def test_the_pace_of_questions_follows_what_is_due_and_what_the_provider_takes() -> None:
    pace = Pace()
    for _ in range(20):
        pace.claimed(pace.round)
    assert pace.rate == MOST
    pace.refused(30, now=100)
    assert (pace.rate, pace.pause_left(110), pace.pause_left(131)) == (MOST / 2, 20, 0)
    for _ in range(20):
        pace.refused(None, now=100)
    assert pace.rate == LEAST
    pace.claimed(0)
    assert pace.rate == FEWEST


async def test_a_429_of_the_llm_host_holds_up_no_other_task(service: Service) -> None:
    waiting = await service.submit(chat("submit=429 retry_after=60"))
    async with asyncio.timeout(PATIENCE):
        while not service.bridge.submitting.queues.resting("piapi"):
            await asyncio.sleep(0.01)
    assert (await service.finished(txt2img()))["status"] == "completed"
    assert (await service.client.get(f"/v1/tasks/{waiting['id']}")).json()["status"] == "queued"


async def test_a_429_of_the_tasks_holds_up_no_chat(service: Service) -> None:
    await service.submit(txt2img("submit=429 retry_after=60"))
    async with asyncio.timeout(PATIENCE):
        while not service.bridge.submitting.queues.resting("piapi"):
            await asyncio.sleep(0.01)
    assert (await service.finished(chat("delay=0.05")))["status"] == "completed"


async def test_a_canceled_stream_is_closed(service: Service, sandbox: str) -> None:
    task = await service.submit(chat("stream=stall"))
    await service.event(task["id"], "task.submitted")
    await service.client.post(f"/v1/tasks/{task['id']}/cancel")
    async with httpx.AsyncClient(base_url=sandbox) as provider, asyncio.timeout(PATIENCE):
        while (await running_there(provider)) > 0:
            await asyncio.sleep(0.02)
    shown = (await service.client.get(f"/v1/tasks/{task['id']}")).json()
    assert shown["status"] == "canceled"


async def test_canceled_tasks_that_go_on_at_the_provider_count_against_the_limit(
    env: dict[str, str], sandbox: str
) -> None:
    async with running(env | {"PIAPI_MAX_INFLIGHT": "2"}) as service, httpx.AsyncClient(base_url=sandbox) as provider:
        first = [await service.submit(txt2img("hold=gate delay=0.01")) for _ in range(2)]
        for task in first:
            await service.event(task["id"], "task.processing")
            await service.client.post(f"/v1/tasks/{task['id']}/cancel")
        later = await service.submit(txt2img("delay=0.01"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(service.event(later["id"], "task.submitted"), 0.5)
        assert await running_there(provider) == 2
        await provider.post("/sandbox/release/gate")
        await service.event(later["id"], "task.completed")


async def running_there(provider: httpx.AsyncClient) -> int:
    """Tasks that the sandbox has not finished."""
    in_flight: dict[str, int] = (await provider.get("/sandbox/ledger")).json()["in_flight"]
    return in_flight.get("piapi", 0)


async def test_callbacks_lost_during_a_restart_are_made_up_for_from_a_list(
    env: dict[str, str], sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "WORTH_A_LIST", 5)
    async with httpx.AsyncClient(base_url=sandbox) as provider:
        async with running(env) as service:
            tasks = [await service.submit(txt2img("hold=gate callback=none delay=0.01")) for _ in range(12)]
            for task in tasks:
                await service.event(task["id"], "task.submitted")
        await provider.post("/sandbox/release/gate")
        async with running(env) as service:
            for task in tasks:
                await service.event(task["id"], "task.completed")
            counted = (await service.admin.get("/metrics")).text
    assert 'operation="history"' in counted
    assert 'operation="fetch"' not in counted


def test_a_thin_list_settles_nothing() -> None:
    exchange = asked(piapi().list_tasks(NOW, NOW, 1))
    entries = [
        {"task_id": "full", "status": "completed", "output": {"image_url": "https://x.example/a.png"}},
        {"task_id": "thin", "status": "completed"},
        {"task_id": "runs", "status": "processing"},
        {"task_id": "failed", "status": "failed", "error": {"message": "too dark"}},
        {"task_id": "thin failure", "status": "failed"},
        {"task_id": "odd", "status": "finalizing"},
    ]
    listed = exchange.read(provider_response({"code": 200, "data": {"tasks": entries}}))
    assert [update.provider_task_id for update in listed] == ["full", "runs", "failed"]
    assert exchange.read(provider_response("", 500)) == []
