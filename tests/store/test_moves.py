"""A move, its event and its deliveries."""

import asyncio
from typing import Any

import pytest

from service.core.errors import Conflict
from service.core.points import Point
from service.core.result import Progress
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import given_back
from service.ports.callbacks import ReceivedCallback
from service.ports.queries import DeliveryQuery
from service.ports.store import Store
from tests.store.parts import (
    DAY,
    NOW,
    URL,
    a_subscription,
    added,
    events,
    finished,
    refuse,
    sent,
    to,
)


async def test_a_move_its_event_and_its_deliveries_are_stored_together(store: Store) -> None:
    subscription = a_subscription()
    await store.subscriptions.add(subscription)
    task = await finished(store, callback_url="https://example.com/own")
    [queued, completed] = await events(store, task_id=task.id)
    found = await store.deliveries.find(DeliveryQuery(None, task_id=task.id))
    assert (queued.type, completed.type) == ("task.queued", "task.completed")
    assert {(item.event_id, item.subscription_id, item.url) for item in found} == {
        (completed.id, subscription.id, URL),
        (completed.id, None, "https://example.com/own"),
    }


async def test_an_event_holds_the_task_as_the_move_left_it(store: Store) -> None:
    task = await finished(store)
    completed = (await events(store, task_id=task.id))[-1]
    assert b'"status":"completed"' in completed.body
    assert f'"seq":{completed.seq}'.encode() in completed.body


async def test_two_steps_of_one_decision_are_two_events_in_order(store: Store) -> None:
    task = await added(store)
    one = task.moved(S.SUBMITTED, NOW)
    two = one.moved(S.PROCESSING, NOW)
    await store.tasks.change(Point.CALLBACK, task.id, lambda _: ((one, "task.submitted"), (two, "task.processing")))
    assert [event.type for event in await events(store)][1:] == ["task.submitted", "task.processing"]
    assert (await store.tasks.get(task.id)) == two


async def test_a_decision_for_nothing_changes_nothing_and_makes_no_event(store: Store) -> None:
    task = await finished(store)
    before = await events(store)
    assert await store.tasks.change(Point.CALLBACK, task.id, lambda _: ()) == task
    assert await events(store) == before


async def test_a_change_without_an_event_is_not_delivered(store: Store) -> None:
    task = await sent(store)
    again = await store.tasks.change(Point.GIVE_BACK, task.id, given_back(task))
    assert again is not None
    assert again.sent_at is None
    assert [event.type for event in await events(store)] == ["task.queued"]


async def test_a_refused_decision_leaves_everything_as_it_was(store: Store) -> None:
    task = await added(store)
    with pytest.raises(Conflict):
        await store.tasks.change(Point.CANCEL, task.id, refuse, ReceivedCallback("piapi", task.id, "accepted", 200))
    assert await store.tasks.get(task.id) == task
    assert len(await events(store)) == 1
    assert await store.callbacks.find(None, None, None, 10) == []


async def test_a_decision_that_breaks_half_way_leaves_nothing_and_spares_its_neighbours(store: Store) -> None:
    tasks = [await added(store) for _ in range(5)]

    def broken(task: Task) -> Any:
        return ((task.moved(S.SUBMITTED, NOW), "task.submitted"), (None, "task.completed"))

    decisions = [to(S.COMPLETED), broken, to(S.FAILED), refuse, to(S.CANCELED)]
    outcomes = await asyncio.gather(
        *(store.tasks.change(Point.CALLBACK, task.id, decide) for task, decide in zip(tasks, decisions, strict=True)),
        return_exceptions=True,
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False, True, False]
    stored = [await store.tasks.get(task.id) for task in tasks]
    assert [task.status.value for task in stored if task] == [
        "completed", "queued", "failed", "queued", "canceled",
    ]  # fmt: skip
    told = [event.type for event in await events(store)]
    assert sorted(told[5:]) == ["task.canceled", "task.completed", "task.failed"]


async def test_concurrent_changes_see_each_other(store: Store, worker: int) -> None:
    """They may share a transaction: each starts from what the one before left."""
    task = await added(store)
    claimed = await store.submits.claim(worker, "piapi", 1, NOW)

    async def moved(status: S, **changes: Any) -> Task | None:
        return await store.tasks.change(Point.CALLBACK, task.id, to(status, **changes))

    _, _, last = await asyncio.gather(
        moved(S.SUBMITTED, check_at=NOW + 5),
        moved(S.PROCESSING, progress=Progress(percent=5)),
        moved(S.PROCESSING, progress=Progress(percent=9)),
    )
    assert [item.id for item in claimed] == [task.id]
    assert last is not None
    assert (last.attempts, last.progress, last.check_at) == (1, Progress(percent=9), NOW + 5)
    assert await store.tasks.get(task.id) == last
    assert [item.id for item in await store.checks.claim("piapi", NOW + 5, NOW + DAY, 10)] == [task.id]
    assert len(await events(store, task_id=task.id)) == 4


async def test_every_open_task_can_be_changed_however_many_there_are(store: Store) -> None:
    tasks = [await sent(store, input={"prompt": "x" * size}) for size in (1, 100, 20_000, 100_000, 1)]
    for status in (S.SUBMITTED, S.PROCESSING, S.COMPLETED):
        moved = await asyncio.gather(
            *(store.tasks.change(Point.CALLBACK, task.id, to(status)) for task in reversed(tasks))
        )
        assert [task.status for task in moved if task] == [status] * 5
    assert [await store.tasks.get(task.id) for task in reversed(tasks)] == moved


async def test_a_call_is_written_down_with_what_it_did(store: Store) -> None:
    task = await added(store)
    callback = ReceivedCallback("piapi", task.id, "accepted", 200)
    await store.tasks.change(Point.CALLBACK, task.id, to(S.COMPLETED), callback)
    await store.tasks.change(Point.CALLBACK, task.id, lambda _: (), callback)
    rows = await store.callbacks.find(None, task.id, None, 10)
    assert [row["result"] for row in rows] == ["repeated", "accepted"]
