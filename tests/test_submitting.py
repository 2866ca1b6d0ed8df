"""Paid once: what is sent, when it is sent again, and how a lost answer is found."""

import asyncio
from typing import Any

import httpx
import pytest

from service.tools.harness.ports import free_port
from service.tools.harness.serving import serving
from service.tools.sandbox.app import create_sandbox
from tests.conftest import Service, environment, img2img, running, txt2img


async def paid(sandbox: str) -> int:
    async with httpx.AsyncClient(base_url=sandbox) as client:
        return int((await client.get("/sandbox/ledger")).json()["submits"])


async def release(sandbox: str, name: str) -> None:
    async with httpx.AsyncClient(base_url=sandbox) as client:
        assert (await client.post(f"/sandbox/release/{name}")).status_code == 204


@pytest.mark.parametrize(
    ("make", "lost"),
    [(txt2img, "accepted_500"), (txt2img, "accepted_502"), (txt2img, "accepted_reset"), (img2img, "accepted_reset")],
)
async def test_a_lost_answer_makes_the_task_unconfirmed_and_its_callback_completes_it(
    service: Service, sandbox: str, make: Any, lost: str
) -> None:
    task = await service.submit(make(f"submit={lost} hold=picture"))
    await service.event(task["id"], "task.unconfirmed")
    await release(sandbox, "picture")
    await service.event(task["id"], "task.completed")
    assert await paid(sandbox) == 1


async def test_a_500_that_says_error_fails_the_task_and_a_result_that_comes_after_all_completes_it(
    service: Service, sandbox: str
) -> None:
    task = await service.submit(img2img("submit=accepted_500 hold=picture"))
    await service.event(task["id"], "task.failed")
    await release(sandbox, "picture")
    await service.event(task["id"], "task.completed")
    assert await paid(sandbox) == 1


async def test_a_refused_task_fails_with_what_the_provider_said_and_is_not_sent_again(
    service: Service, sandbox: str
) -> None:
    task = await service.finished(txt2img("submit=400"))
    assert task["status"] == "failed"
    assert task["error"]["code"] == "provider_rejected"
    assert task["attempts"] == 1
    assert await paid(sandbox) == 0


@pytest.mark.parametrize("busy", ["submit=429 retry_after=0.1 times=2", "submit=busy200 retry_after=0.1 times=2"])
async def test_too_many_requests_pauses_the_queue_and_is_no_failure(service: Service, sandbox: str, busy: str) -> None:
    task = await service.finished(img2img(f"{busy} delay=0.05"))
    assert task["status"] == "completed"
    assert task["attempts"] == 1
    assert await paid(sandbox) == 1


async def test_a_provider_that_cannot_be_reached_is_tried_again_until_it_can(tmp_path: Any) -> None:
    port = free_port()
    async with running(environment(f"http://127.0.0.1:{port}", tmp_path, free_port())) as service:
        task = await service.submit(txt2img())
        assert (await service.client.get(f"/v1/tasks/{task['id']}")).json()["status"] == "queued"
        async with serving(create_sandbox(), port=port) as sandbox:
            await service.event(task["id"], "task.completed")
            assert await paid(sandbox) == 1


async def test_an_unconfirmed_task_without_callback_is_found_in_the_history(sandbox: str, tmp_path: Any) -> None:
    env = environment(sandbox, tmp_path, free_port()) | {"SWEEP_AFTER": "0.1"}
    async with running(env) as service:
        task = await service.submit(txt2img("submit=accepted_500 callback=none delay=0.05"))
        await service.event(task["id"], "task.completed")
    assert await paid(sandbox) == 1


async def test_an_unconfirmed_task_that_nobody_knows_fails_at_the_deadline_and_a_late_result_still_wins(
    sandbox: str, tmp_path: Any
) -> None:
    env = environment(sandbox, tmp_path, free_port()) | {"SWEEP_AFTER": "0.1", "TASK_DEADLINE": "0.4"}
    async with running(env) as service:
        task = await service.submit(txt2img("submit=accepted_500 history=none queue=late delay=0.05"))
        failed = await service.event(task["id"], "task.failed")
        assert failed["data"]["error"]["code"] == "submission_unconfirmed"
        await release(sandbox, "late")
        await service.event(task["id"], "task.completed")


async def test_a_person_may_send_an_unconfirmed_task_again(service: Service, sandbox: str) -> None:
    task = await service.submit(txt2img("submit=500 times=1 delay=0.05"))
    await service.event(task["id"], "task.unconfirmed")
    again = await service.client.post(f"/v1/tasks/{task['id']}/resubmit")
    assert again.status_code == 202
    done = await service.event(task["id"], "task.completed")
    assert done["data"]["attempts"] == 2
    assert (await service.client.post(f"/v1/tasks/{task['id']}/resubmit")).status_code == 409


async def test_a_fault_of_ours_in_a_submit_makes_it_unconfirmed_and_frees_its_place(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.bridge.submitting.clients["piapi"], "submit", lambda *_: 1 / 0)
    task = await service.submit(txt2img("hold=x"))
    await service.event(task["id"], "task.unconfirmed")


async def test_what_is_taken_at_the_moment_of_a_stop_goes_back_to_the_queue(env: dict[str, str], sandbox: str) -> None:
    stops: list[asyncio.Task[None]] = []

    def stop_there(point: str) -> None:
        if point == "before:claim_task" and not stops:
            stops.append(asyncio.create_task(service.bridge.submitting.queues.stop(1)))

    async with running(env, stop_there) as service:
        task = await service.submit(txt2img("delay=0.05"))
        while not stops:
            await service.client.get("/healthz")
        await stops[0]
        assert await service.bridge.store.submits.held_by(service.bridge.lease.worker) == []
    async with running(env) as service:
        await service.event(task["id"], "task.completed")


@pytest.mark.parametrize("make", [txt2img, img2img], ids=["piapi", "modelslab"])
async def test_a_callback_before_the_answer_is_taken_and_each_move_is_told_once(service: Service, make: Any) -> None:
    task = await service.finished(make("callback=early,twice delay=0.05"))
    listed = (await service.client.get("/v1/events", params={"task_id": task["id"]})).json()["data"]
    types = [event["type"] for event in listed]
    assert types[:2] == ["task.queued", "task.submitted"]
    assert types[-1] == "task.completed"
    assert len(set(types)) == len(types)


async def test_a_callback_that_never_comes_is_swept_and_makes_the_same_event(sandbox: str, tmp_path: Any) -> None:
    env = environment(sandbox, tmp_path, free_port()) | {"SWEEP_AFTER": "0.1"}
    async with running(env) as service:
        for body in (txt2img("callback=none delay=0.05"), img2img("callback=none delay=0.05")):
            task = await service.submit(body)
            done = await service.event(task["id"], "task.completed")
            assert done["data"]["output"]["url"].startswith(sandbox)


async def test_a_dropped_webhook_config_is_swept_from_the_start(service: Service) -> None:
    # SWEEP_AFTER is two minutes here: only the missing echo explains an early question.
    task = await service.submit(txt2img("drop_webhook=1 delay=0.05"))
    await service.event(task["id"], "task.completed")


async def test_no_more_tasks_are_at_a_provider_than_it_may_have_and_owners_take_turns(
    sandbox: str, tmp_path: Any
) -> None:
    env = environment(sandbox, tmp_path, free_port()) | {"PIAPI_MAX_INFLIGHT": "2"}
    async with running(env) as service:
        first = [await service.submit(txt2img("hold=batch")) for _ in range(6)]
        other = (await service.bob.post("/v1/tasks", json=txt2img("delay=0.02"))).json()
        await service.event(first[1]["id"], "task.submitted")
        assert (await service.bob.get(f"/v1/tasks/{other['id']}")).json()["status"] == "queued"
        await release(sandbox, "batch")
        async with httpx.AsyncClient(base_url=sandbox) as client:
            for task in first:
                await service.event(task["id"], "task.completed")
            peak = (await client.get("/sandbox/ledger")).json()["peak_in_flight"]["piapi"]
        mine = await service.admin.get("/v1/events", params={"types": "task.completed"})
        order = [event["data"]["id"] for event in mine.json()["data"]]
        assert peak <= 2
        assert order.index(other["id"]) < 5
