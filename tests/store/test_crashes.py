"""What is there after a crash."""

from service.ports.queries import DeliveryQuery, Idempotency, TaskQuery
from service.ports.store import Store
from tests.store.parts import LEASE, NOW, AfterACrash, a_task, added, deliveries, events, finished


async def test_all_that_was_acknowledged_is_there_after_a_crash(store: Store, after_a_crash: AfterACrash) -> None:
    subscription, _ = await deliveries(store, 2)
    await store.tasks.add(a_task(), Idempotency("k", b"body"))
    before = (
        await store.tasks.find(TaskQuery(None)),
        await events(store),
        await store.deliveries.find(DeliveryQuery(None)),
    )
    again = await after_a_crash()
    after = (
        await again.tasks.find(TaskQuery(None)),
        await events(again),
        await again.deliveries.find(DeliveryQuery(None)),
    )
    assert after == before
    assert again.subscriptions.known(subscription.id) == subscription
    assert (await again.tasks.add(a_task(), Idempotency("k", b"body")))[1]


async def test_claims_of_a_dead_process_are_free_once_it_is_removed(
    store: Store, worker: int, after_a_crash: AfterACrash
) -> None:
    lane, made = await deliveries(store, 2)
    await store.queue.claim(worker, lane.id, NOW, 10)
    again = await after_a_crash()
    fresh, _ = await again.workers.join(NOW, NOW + 2 * LEASE)
    assert worker in await again.workers.end_expired(NOW + LEASE)
    await again.workers.remove(worker)
    claimed = await again.queue.claim(fresh, lane.id, NOW, 10)
    assert [item.n for item in claimed] == [item.n for item in made]
    assert fresh > worker


async def test_what_was_being_sent_is_held_by_the_dead_worker(
    store: Store, worker: int, after_a_crash: AfterACrash
) -> None:
    await added(store)
    [task] = await store.submits.claim(worker, "piapi", 9, NOW)
    again = await after_a_crash()
    fresh, _ = await again.workers.join(NOW, NOW + 2 * LEASE)
    assert [item.id for item in await again.submits.held_by(worker)] == [task.id]
    assert await again.submits.claim(fresh, "piapi", 9, NOW) == []


async def test_seqs_go_on_after_a_crash(store: Store, after_a_crash: AfterACrash) -> None:
    await finished(store)
    last = await store.events.last_seq()
    again = await after_a_crash()
    await added(again)
    assert await again.events.last_seq() == last + 1


async def test_the_store_says_that_it_is_well(store: Store) -> None:
    await store.ping()
