"""A clock that is set while the service runs, or between two runs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from starlette.responses import Response

from service.core import times
from service.core.ids import IdMaker
from service.core.times import Clock, now_ms, to_iso
from service.ports.queries import TaskQuery
from service.store.sqlite.store import SqliteStore, open_store
from service.wire.tokens import BadToken, TimedTokens
from service.workers import retention
from service.workers.clock import ClockWatch
from service.workers.retention import Tidier
from tests.conftest import PATIENCE, Subscriber, running, txt2img
from tests.store.parts import DAY, finished

SECOND = 1_000_000_000


class Machine:
    """A machine's two clocks, in nanoseconds."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_800_000_000 * SECOND, 5 * SECOND

    def passes(self, seconds: float) -> None:
        self.wall += int(seconds * SECOND)
        self.monotonic += int(seconds * SECOND)

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.monotonic)


def test_a_clock_follows_a_step_ahead_and_goes_on_after_a_step_back() -> None:
    machine = Machine()
    clock = machine.clock()
    began = clock.now_ms()
    machine.wall += 3600 * SECOND
    assert clock.now_ms() == began + 3_600_000
    assert clock.ahead_ms() == 0
    machine.wall -= 600 * SECOND
    machine.passes(3)
    assert clock.now_ms() == began + 3_603_000
    assert clock.ahead_ms() == 600_000
    clock.follow()
    assert (clock.now_ms(), clock.ahead_ms()) == (began + 3_003_000, 0)


def test_ids_sort_above_those_that_were_made_while_the_clock_was_ahead() -> None:
    ahead = f"tsk_{now_ms() + 40 * DAY:012x}0000ffffffffffffffff"
    maker = IdMaker()
    maker.continue_after(ahead)
    made = [maker("tsk") for _ in range(3)]
    assert [ahead, *made] == sorted([ahead, *made])


@pytest.fixture
def shift() -> Iterator[list[int]]:
    """The seconds by which the clock of the service is off; it may be changed at any moment."""
    seconds, wall = [0], times.clock.wall
    times.clock.wall = lambda: wall() + seconds[0] * SECOND
    yield seconds
    times.clock.wall = wall
    times.clock.follow()


def test_a_token_from_the_future_is_accepted_and_an_expired_one_is_not(shift: list[int]) -> None:
    tokens = TimedTokens(("k" * 32,), "test")
    token = tokens.make("a value")
    shift[0] = -600
    times.clock.follow()
    assert tokens.read(token, 60) == "a value"
    shift[0] = 61
    with pytest.raises(BadToken):
        tokens.read(token, 60)


async def test_after_a_step_back_streams_retries_sweeps_and_replays_go_on(
    env: dict[str, str], subscriber: Subscriber, shift: list[int]
) -> None:
    refused = {"count": 0}
    async with running(env | {"RETRY_SCHEDULE": "1.5", "SWEEP_AFTER": "2"}) as service:
        made = await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
        path = f"/v1/subscriptions/{made.json()['id']}/replay"
        first = await service.finished(txt2img())
        await subscriber.count(1)
        since = to_iso(now_ms())

        subscriber.answer = lambda request, body: _first_is_refused(refused)
        lost = await service.submit(txt2img("callback=none"))
        shift[0] = -3600
        async with asyncio.timeout(PATIENCE):
            await service.event(lost["id"], "task.completed")  # the sweep asked
            await subscriber.count(3)  # refused, and tried again
            link = await service.anybody.get(first["links"]["stream"], headers={"Last-Event-ID": "0"})
        assert link.status_code == 200
        # Its event is an hour older by now than the moment asked for, and came after it.
        response = await service.client.post(path, json={"after": since})
        assert response.json()["queued"] >= 1
        times_shown = [event["timestamp"] for event in (await service.client.get("/v1/events")).json()["data"]]
        assert times_shown != sorted(times_shown)  # the clock was followed after all


def _first_is_refused(seen: dict[str, int]) -> Response:
    seen["count"] += 1
    return Response(status_code=500 if seen["count"] == 1 else 204)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    one = await open_store(str(tmp_path / "test.db"))
    yield one
    await one.close()


async def test_a_start_after_the_clock_was_set_back_moves_what_is_due(
    env: dict[str, str], subscriber: Subscriber, shift: list[int]
) -> None:
    seen = {"count": 0}
    subscriber.answer = lambda request, body: _first_is_refused(seen)
    shift[0] = 40 * 86_400
    async with running(env | {"RETRY_SCHEDULE": "3"}) as service:
        await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
        before = await service.finished(txt2img())
        await subscriber.count(1)
    shift[0] = 0
    times.clock.follow()
    async with running(env | {"RETRY_SCHEDULE": "3"}) as service:
        await subscriber.count(2)  # not in 40 days
        after = await service.submit(txt2img())
        assert after["id"] > before["id"]
        listed = (await service.client.get("/v1/tasks")).json()["data"]
        assert [task["id"] for task in listed] == [after["id"], before["id"]]


async def test_a_start_40_days_ahead_removes_nothing_and_logs_it(
    store: SqliteStore, shift: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    await finished(store, now_ms(), created_at=now_ms())
    shift[0] = 40 * 86_400
    removed_files: list[float] = []

    async def remove_files(older_than: float) -> None:
        removed_files.append(older_than)

    tidier = Tidier(store, 30, remove_files)
    with caplog.at_level(logging.WARNING):
        await asyncio.gather(tidier.old_tasks(), tidier.leftovers())
    assert len(await store.tasks.find(TaskQuery(None))) == 1
    assert removed_files[0] > 69 * 86_400
    assert "the clock is 40.0 days ahead" in caplog.text


async def test_removal_catches_up_with_a_clock_that_is_right(
    store: SqliteStore, shift: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    await finished(store, now_ms(), created_at=now_ms())
    removal = retention.RemovalClock(store.clock, 3600.0)
    await removal.keep()
    shift[0] = 40 * 86_400
    running_for = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: running_for + 20 * 3600)
    assert now_ms() - await removal.now() == pytest.approx(20 * DAY, abs=DAY)
    monkeypatch.setattr(time, "monotonic", lambda: running_for + 41 * 3600)
    assert now_ms() - await removal.now() <= 1
    await removal.keep()
    monkeypatch.undo()
    assert await retention.RemovalClock(store.clock, 3600.0).now() == pytest.approx(now_ms(), abs=60_000)


async def test_a_time_leads_to_the_first_event_after_it_on_either_side_of_a_step(store: SqliteStore) -> None:
    now = now_ms()
    await finished(store, now, created_at=now - 1000)
    before = await store.events.last_seq()
    await store.clock.set_back(now + 1, now - 600_000)
    await finished(store, now - 500_000, created_at=now - 590_000)
    # Between the two times of the step: the events before it that are younger, and all after it.
    assert await store.events.seq_at(now - 550_000) == 0
    assert await store.events.seq_at(now) == before - 1
    assert await store.events.seq_at(now + 2) == await store.events.last_seq()


async def test_the_watch_notifies_the_store_once(store: SqliteStore) -> None:
    machine = Machine()
    told: list[tuple[int, int]] = []

    class Recording:
        newest = staticmethod(store.clock.newest)

        async def set_back(self, before: int, after: int) -> None:
            told.append((before, after))

    clock = machine.clock()
    watch = ClockWatch(Recording(), clock)  # type: ignore[arg-type]
    await watch.start()
    began = clock.now_ms()
    machine.wall -= 100 * SECOND
    async with asyncio.timeout(PATIENCE):
        while clock.now_ms() == began:
            await asyncio.sleep(0.05)
    await watch.stop()
    assert told == [(began, began - 100_000)]
