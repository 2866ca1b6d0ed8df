"""Events in their order."""

import asyncio

from service.core.event import FINISHING_EVENTS, Event
from service.core.points import Point
from service.core.task import Status as S
from service.ports.queries import EventQuery
from service.ports.store import Store
from tests.store.parts import DAY, NOW, added, events, finished, refuse, tidied, to


async def test_events_are_bounded_by_seq_owner_task_and_type(store: Store) -> None:
    one, two = await finished(store), await finished(store, owner="bob")
    everything = await events(store)
    seqs = [event.seq for event in everything]
    assert seqs == sorted(set(seqs))
    assert await events(store, after=seqs[1]) == everything[2:]
    assert await events(store, after=seqs[0], up_to=seqs[2]) == everything[1:3]
    assert {event.task_id for event in await events(store, owner="bob")} == {two.id}
    assert {event.task_id for event in await events(store, task_id=one.id)} == {one.id}
    assert {event.type for event in await events(store, types=FINISHING_EVENTS)} == {"task.completed"}
    assert await events(store, limit=1) == everything[:1]


async def test_the_latest_events_come_newest_first(store: Store) -> None:
    for _ in range(3):
        await finished(store)
    latest = await store.events.latest(EventQuery(None, types=("task.completed",), limit=2))
    assert latest == [event for event in (await events(store))[::-1] if event.type == "task.completed"][:2]


async def test_a_seq_is_never_given_twice_also_after_the_newest_were_removed(store: Store) -> None:
    assert await store.events.last_seq() == 0
    await finished(store)
    last = (await events(store))[-1].seq
    assert await store.events.last_seq() == last
    await tidied(store, NOW + DAY)
    assert await events(store) == []
    assert await store.events.last_seq() == last
    await added(store)
    assert [event.seq > last for event in await events(store)] == [True]


async def test_the_seq_at_a_moment_is_the_last_one_before_it(store: Store) -> None:
    for moment in (NOW, NOW + 10, NOW + 20):
        await added(store, created_at=moment)
    seqs = [event.seq for event in await events(store)]
    assert await store.events.seq_at(NOW) == 0
    assert await store.events.seq_at(NOW + 11) == seqs[1]
    assert await store.events.seq_at(NOW + DAY) == seqs[2]


async def test_an_observer_is_told_of_every_commit_in_order(store: Store) -> None:
    heard: list[Event] = []
    store.observers.event.append(heard.append)
    tasks = await asyncio.gather(*(added(store) for _ in range(5)))
    changes = [
        store.tasks.change(Point.CALLBACK, task.id, refuse if n == 2 else to(S.COMPLETED))
        for n, task in enumerate(tasks)
    ]
    await asyncio.gather(*changes, return_exceptions=True)
    assert heard == await events(store)
    assert len(heard) == 9
