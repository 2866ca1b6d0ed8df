"""Removing what is old."""

from dataclasses import replace

from service.core.delivery import Attempt
from service.core.points import Point
from service.core.task import Status as S
from service.ports.queries import DeliveryQuery, Idempotency, TaskQuery
from service.ports.replays import Replay
from service.ports.store import Store
from tests.store.parts import DAY, NOW, a_subscription, a_task, added, deliveries, events, finished, tidied, to


async def test_old_finished_tasks_go_with_all_that_belongs_to_them(store: Store) -> None:
    for made in (await deliveries(store, 2))[1]:
        await store.queue.record(made.after(Attempt(NOW, 204, None, 12), None))
    open_one = await added(store)
    young = await finished(store, NOW + DAY)
    await tidied(store)
    assert {task.id for task in await store.tasks.find(TaskQuery(None))} == {open_one.id, young.id}
    left = {event.task_id for event in await events(store)}
    assert left == {open_one.id, young.id}
    assert {item.task_id for item in await store.deliveries.find(DeliveryQuery(None))} == {young.id}


async def test_old_tasks_are_no_longer_found_by_anything(store: Store) -> None:
    old, young = [await finished(store, now, metadata={"order": "A-17"}) for now in (NOW, NOW + DAY)]
    await tidied(store)
    for query in ({"metadata": {"order": "A-17"}}, {"provider": "piapi"}, {"model": old.model}):
        assert await store.tasks.find(TaskQuery("alice", **query)) == [young]


async def test_what_is_still_to_be_delivered_keeps_its_task(store: Store) -> None:
    subscription, [made] = await deliveries(store)
    await store.subscriptions.change(subscription.id, lambda item: (replace(item, events=("ping",)), None))
    behind = await finished(store)
    await tidied(store)
    assert await store.tasks.get(behind.id) is None
    assert [item.n for item in await store.deliveries.find(DeliveryQuery(None))] == [made.n]
    await store.subscriptions.change(subscription.id, lambda item: (replace(item, enabled=False), None))
    await tidied(store)
    assert await store.deliveries.find(DeliveryQuery(None)) == []


async def test_an_event_that_was_removed_meanwhile_is_not_replayed(store: Store) -> None:
    subscription = a_subscription()
    await store.subscriptions.add(subscription)
    task = await finished(store, callback_url=None)
    told = await events(store, task_id=task.id)
    for made in await store.deliveries.find(DeliveryQuery(None)):
        await store.queue.record(made.after(Attempt(NOW, 204, None, 12), None))
    await tidied(store)
    replay = Replay(subscription.id, 0, 2**40, ("task.queued",))
    await store.replays.start(replay)
    await store.replays.step(replay, subscription, told, 2**40, NOW)
    assert await store.queue.lanes("", 100) == []


async def test_tidying_goes_in_steps(store: Store) -> None:
    for _ in range(5):
        await finished(store)
    last = await store.retention.remove_tasks(NOW + 1, "", 2)
    assert len(await store.tasks.find(TaskQuery(None))) == 3
    assert last is not None
    await store.retention.remove_tasks(NOW + 1, last, 2)
    assert len(await store.tasks.find(TaskQuery(None))) == 1


async def test_an_old_key_is_forgotten_and_its_task_stays(store: Store) -> None:
    key = Idempotency("k", b"body")
    first, _ = await store.tasks.add(a_task(), key)
    assert await store.retention.remove_leftovers(0, NOW + 1, 10) == 1
    again, replayed = await store.tasks.add(a_task(), key)
    assert not replayed
    assert {first.id, again.id} == {task.id for task in await store.tasks.find(TaskQuery(None))}


async def test_a_key_outlives_its_removed_task_without_harm(store: Store) -> None:
    key = Idempotency("k", b"body")
    first, _ = await store.tasks.add(a_task(), key)
    await store.tasks.change(Point.CALLBACK, first.id, to(S.COMPLETED))
    await tidied(store)
    _, replayed = await store.tasks.add(a_task(), key)
    assert not replayed


async def test_events_without_a_task_go_too(store: Store, worker: int) -> None:
    one = a_subscription()
    await store.subscriptions.add(one)
    await store.deliveries.ping(worker, one, NOW)
    await tidied(store)
    assert await events(store) == []
    assert await store.deliveries.find(DeliveryQuery(None)) == []
