"""Deliveries as work, and as their owners see them."""

import asyncio

from service.core.delivery import Attempt, DeliveryStatus
from service.ports.queries import DeliveryQuery
from service.ports.replays import Replay
from service.ports.store import Store
from tests.store.parts import DAY, NOW, a_subscription, deliveries, events, failed_attempt


async def test_many_workers_never_get_the_same_delivery(store: Store, worker: int) -> None:
    lane, _ = await deliveries(store, 20)
    claims = await asyncio.gather(*(store.queue.claim(worker, lane.id, NOW, 3) for _ in range(8)))
    numbers = [item.n for claim in claims for item in claim]
    assert len(numbers) == len(set(numbers)) == 20


async def test_a_claim_brings_the_event_in_the_order_of_the_first_attempts(store: Store, worker: int) -> None:
    lane, made = await deliveries(store, 3)
    await store.queue.record(failed_attempt(made[0], NOW + 50))
    claimed = await store.queue.claim(worker, lane.id, NOW + 100, 10)
    assert [item.n for item in claimed] == [made[1].n, made[2].n, made[0].n]
    bodies = {event.id: event.body for event in await events(store)}
    assert all(item.body == bodies[item.event_id] for item in claimed)


async def test_a_claim_ends_with_the_record_or_when_it_is_given_back(store: Store, worker: int) -> None:
    lane, [made] = await deliveries(store)
    [claimed] = await store.queue.claim(worker, lane.id, NOW, 1)
    assert claimed.worker == worker
    assert await store.queue.claim(worker, lane.id, NOW + DAY, 1) == []
    await store.queue.give_back([claimed])
    [again] = await store.queue.claim(worker, lane.id, NOW, 1)
    assert again == claimed
    await store.queue.record(failed_attempt(again, NOW + 5))
    assert [item.n for item in await store.queue.claim(worker, lane.id, NOW + 5, 1)] == [made.n]


async def test_concurrent_outcomes_are_all_recorded(store: Store, worker: int) -> None:
    lane, _ = await deliveries(store, 5)
    claimed = await store.queue.claim(worker, lane.id, NOW, 5)
    assert len(claimed) == 5
    await asyncio.gather(*(store.queue.record(failed_attempt(item, NOW + 7)) for item in claimed))
    again = await store.queue.claim(worker, lane.id, NOW + 7, 5)
    assert [item.n for item in again] == [item.n for item in claimed]
    assert [(item.tries, len(item.attempts)) for item in again] == [(1, 1)] * 5


async def test_a_delivery_is_claimed_when_it_is_due_and_next_due_says_when(store: Store, worker: int) -> None:
    lane, [made] = await deliveries(store)
    await store.queue.record(failed_attempt(made, NOW + 900))
    assert await store.queue.next_due(lane.id) == NOW + 900
    assert await store.queue.claim(worker, lane.id, NOW + 899, 1) == []
    assert len(await store.queue.claim(worker, lane.id, NOW + 900, 1)) == 1
    assert await store.queue.next_due(lane.id) is None


async def test_what_is_delivered_or_dead_waits_no_more(store: Store) -> None:
    lane, [one, two] = await deliveries(store, 2)
    await store.queue.record(one.after(Attempt(NOW, 204, None, 12), None))
    assert await store.queue.lanes("", 100) == [lane.id]
    await store.queue.record(failed_attempt(two, None))
    assert await store.queue.lanes("", 100) == []
    found = await store.deliveries.find(DeliveryQuery(None))
    assert [item.status.value for item in found] == ["dead", "delivered"]
    assert found[0].attempts[0]["status_code"] == 500


async def test_lanes_are_named_once_however_much_waits_in_them(store: Store) -> None:
    lanes = {(await deliveries(store, 2))[0].id for _ in range(3)}
    assert await store.queue.lanes("", 100) == sorted(lanes)
    assert await store.queue.lanes(min(lanes), 1) == sorted(lanes)[1:2]


async def test_a_retry_is_due_now_with_a_fresh_count_and_its_history(store: Store, worker: int) -> None:
    lane, [made] = await deliveries(store)
    await store.queue.record(failed_attempt(failed_attempt(made, NOW), None))
    again = await store.deliveries.retry(made.n, NOW + 5)
    assert again is not None
    assert (again.status, again.tries, len(again.attempts)) == (DeliveryStatus.PENDING, 0, 2)
    assert await store.queue.claim(worker, lane.id, NOW + 4, 1) == []
    [claimed] = await store.queue.claim(worker, lane.id, NOW + 5, 1)
    assert failed_attempt(claimed, NOW + 9).status is DeliveryStatus.PENDING
    assert await store.deliveries.retry(99_999, NOW) is None


async def test_a_retry_does_not_take_a_delivery_from_its_worker(store: Store, worker: int) -> None:
    lane, [made] = await deliveries(store)
    await store.queue.claim(worker, lane.id, NOW, 1)
    await store.deliveries.retry(made.n, NOW)
    assert await store.queue.claim(worker, lane.id, NOW, 1) == []


async def test_a_replay_queues_the_same_events_again(store: Store, worker: int) -> None:
    lane, made = await deliveries(store, 2)
    for item in await store.queue.claim(worker, lane.id, NOW, 10):
        await store.queue.record(item.after(Attempt(NOW, 204, None, 1), None))
    stored = await events(store, types=("task.completed",))
    replay = Replay(lane.id, 0, stored[-1].seq, ("task.queued",))
    await store.replays.start(replay)
    await store.replays.step(replay, lane, stored, stored[-1].seq, NOW)
    again = await store.queue.claim(worker, lane.id, NOW, 10)
    assert [item.event_id for item in again] == [item.event_id for item in made]
    assert not {item.n for item in again} & {item.n for item in made}


async def test_a_ping_is_claimed_by_its_sender_and_offered_to_nobody_else(store: Store, worker: int) -> None:
    one, other = a_subscription(), a_subscription(events=("ping",))
    for item in (one, other):
        await store.subscriptions.add(item)
    delivery = await store.deliveries.ping(worker, one, NOW)
    assert [event.type for event in await events(store)] == ["ping"]
    assert (delivery.lane, delivery.event_type) == (one.id, "ping")
    assert await store.queue.claim(worker, one.id, NOW, 10) == []
    assert await store.queue.lanes("", 10) == [one.id]


async def test_deliveries_are_buried_in_steps(store: Store) -> None:
    lane, _ = await deliveries(store, 5)
    await deliveries(store, 1)
    steps = [await store.queue.bury(lane.id, 2) for _ in range(4)]
    assert steps == [2, 2, 2, 0]
    assert {item.status.value for item in await store.deliveries.find(DeliveryQuery(None))} == {"dead", "pending"}
    assert lane.id not in await store.queue.lanes("", 100)


async def test_pages_of_deliveries_join_and_every_term_narrows(store: Store) -> None:
    lane, made = await deliveries(store, 5)
    await deliveries(store, 1)
    first = await store.deliveries.find(DeliveryQuery("alice", subscription_id=lane.id, limit=3))
    rest = await store.deliveries.find(DeliveryQuery("alice", subscription_id=lane.id, before=first[-1].n, limit=50))
    wanted = [item.n for item in await store.deliveries.find(DeliveryQuery(None, subscription_id=lane.id))]
    assert [item.n for item in first + rest] == wanted
    assert await store.deliveries.find(DeliveryQuery("bob")) == []
    assert await store.deliveries.find(DeliveryQuery(None, status="dead")) == []
    [only] = await store.deliveries.find(DeliveryQuery(None, subscription_id=lane.id, task_id=made[0].task_id))
    assert await store.deliveries.get(only.n) is not None
    assert await store.deliveries.get(99_999) is None
