"""What many requests share: memory, turns to read, probes; and what one request may hold."""

import asyncio
from typing import Any

import orjson
import pytest

from service.core.errors import Unavailable
from service.flows import browse
from service.flows.probe import SharedProbe
from service.flows.turns import AT_ONCE, Turns
from service.web import budget
from service.web.budget import Budget
from service.web.requests import MAX_VALUES
from tests.conftest import TXT2IMG, Service, txt2img


async def test_a_caller_waits_for_its_own_excess_and_another_does_not() -> None:
    one = Budget(total=100, share=40)
    with one.reserve("careless") as first, one.reserve("careless") as second, one.reserve("other") as other:
        await first.grow(30)
        waiting = asyncio.create_task(second.grow(30))
        await other.grow(40)
        await asyncio.sleep(0)
        assert not waiting.done()
        first.resize(0)
        async with asyncio.timeout(5):
            await waiting
    assert one.used == 0


async def test_what_is_larger_than_the_budget_passes_alone() -> None:
    one = Budget(total=100, share=40)
    with one.reserve("a") as large:
        await large.grow(1000)
        assert not one.fits("b", 0, 1)
    assert one.fits("b", 0, 1000)


async def test_a_request_that_waits_too_long_for_memory_gets_a_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "PATIENCE", 0.01)
    one = Budget(total=10, share=10)
    with one.reserve("a") as held, one.reserve("b") as late:
        await held.grow(10)
        with pytest.raises(Unavailable) as refused:
            await late.grow(1)
    assert refused.value.retry_after
    assert one.used == 0


async def test_one_caller_is_served_in_order_and_nobody_waits_behind_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "READ_AHEAD", 1)
    one, served = Budget(total=100, share=40), []

    async def take(caller: str, size: int) -> None:
        with one.reserve(caller) as reservation:
            await reservation.grow(size)
            served.append((caller, size))

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        with one.reserve("careless") as held:
            await held.grow(30)
            for size in (30, 20, 5):
                group.create_task(take("careless", size))
            await asyncio.sleep(0)
            await take("other", 40)
    assert served == [("other", 40), ("careless", 30), ("careless", 20), ("careless", 5)]
    assert one.used == 0


async def test_a_request_that_holds_a_part_goes_before_those_that_hold_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "READ_AHEAD", 1)
    one = Budget(total=100, share=40)
    with one.reserve("a") as begun, one.reserve("a") as other, one.reserve("a") as late:
        await begun.grow(10)
        await other.grow(25)
        new = asyncio.create_task(late.grow(40))
        more = asyncio.create_task(begun.grow(30))
        await asyncio.sleep(0)
        other.resize(0)
        async with asyncio.timeout(5):
            await more
        assert not new.done()
        begun.resize(0)
        async with asyncio.timeout(5):
            await new


async def test_a_request_abandoned_while_waiting_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "READ_AHEAD", 1)
    one = Budget(total=100, share=40)
    with one.reserve("a") as held, one.reserve("a") as leaves, one.reserve("a") as stays:
        await held.grow(30)
        leaving, staying = asyncio.create_task(leaves.grow(40)), asyncio.create_task(stays.grow(10))
        await asyncio.sleep(0)
        leaving.cancel()
        async with asyncio.timeout(5):
            await staying
    assert one.used == 0


async def test_those_that_wait_are_bounded_by_what_was_read_of_them() -> None:
    one = Budget(total=100, share=40)
    with one.reserve("a") as held, one.reserve("a") as first, one.reserve("a") as second, one.reserve("b") as other:
        await held.grow(40)
        waiting = asyncio.create_task(first.grow(30))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await second.grow(30)
        await other.grow(40)
        held.resize(0)
        async with asyncio.timeout(5):
            await waiting


async def test_of_one_caller_a_few_read_at_once_and_others_at_their_side() -> None:
    turns, inside, gate = Turns(), 0, asyncio.Event()

    async def read(caller: str) -> None:
        nonlocal inside
        async with turns.take(caller):
            inside += 1
            await gate.wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(read("careless"))
        group.create_task(read("innocent"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert inside == AT_ONCE + 1
        gate.set()


async def test_all_who_ask_within_a_second_share_one_probe() -> None:
    probes = 0

    async def probe() -> None:
        nonlocal probes
        probes += 1
        await asyncio.sleep(0)
        raise Unavailable("The store cannot be written.")

    shared = SharedProbe(probe)
    found = await asyncio.gather(*(shared() for _ in range(50)), return_exceptions=True)
    assert probes == 1
    assert {type(error) for error in found} == {Unavailable}


async def test_a_page_of_large_tasks_is_shorter_and_its_cursor_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "PAGE_BYTES", 100_000)
    made = [(await service.submit(txt2img("hold=gate", metadata={"pad": "x" * 60_000})))["id"] for _ in range(5)]
    found: list[str] = []
    pages: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await service.client.get("/v1/tasks", params={"limit": 50, **cursor})).json()
        found += [task["id"] for task in page["data"]]
        pages.append(len(page["data"]))
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == list(reversed(made))
    assert pages == [2, 2, 1]


async def test_a_large_response_arrives_whole_and_gives_its_memory_back(service: Service) -> None:
    pad = "x" * 500_000
    task = await service.submit(txt2img("hold=gate", metadata={"pad": pad}))
    for _ in range(30):
        assert (await service.client.get(f"/v1/tasks/{task['id']}")).json()["metadata"]["pad"] == pad


@pytest.mark.parametrize(
    "document",
    [[0] * (MAX_VALUES + 1), {"input": {"messages": [{}] * (MAX_VALUES + 1)}}, [[[0] * 200] * 200]],
    ids=["list", "messages", "nested"],
)
async def test_a_body_of_too_many_values_is_422(service: Service, document: Any) -> None:
    response = await service.client.post("/v1/tasks", content=orjson.dumps(document))
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert str(MAX_VALUES) in response.json()["errors"][0]["detail"]


async def test_commas_in_a_text_are_no_values(service: Service) -> None:
    await service.submit(TXT2IMG | {"metadata": {"text": "," * 10 * MAX_VALUES}})


async def test_all_errors_of_a_body_are_reported_at_once(service: Service) -> None:
    body = {
        **TXT2IMG,
        "input": {"prompt": "a cat", "width": "wide"},
        "callback_url": "ftp://example.com",
        "metadata": [],
        "colour": "red",
    }
    response = await service.client.post("/v1/tasks", json=body)
    pointers = {fault["pointer"] for fault in response.json()["errors"]}
    assert {"/input/width", "/callback_url", "/metadata", "/colour"} <= pointers


@pytest.mark.parametrize(
    "path", ["/v1/tasks?colour=red", "/v1/events?cursor=1", "/v1/deliveries?after=1", "/v1/tasks/tsk_1?wait=5"]
)
async def test_an_unknown_query_parameter_is_422_and_named(service: Service, path: str) -> None:
    response = await service.client.get(path)
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    name = path.partition("?")[2].partition("=")[0]
    assert response.json()["errors"][0]["pointer"] == f"?{name}"
