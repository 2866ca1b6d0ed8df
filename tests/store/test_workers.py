"""Workers, their leases and lanes, and what is left of their claims when a lease is over."""

import asyncio

from service.core.delivery import Attempt, DeliveryStatus
from service.core.lanes import ALL_GROUPS, GROUPS
from service.core.points import Point
from service.core.task import Status as S
from service.core.transitions import Timing, given_back, lost, under_claim
from service.core.update import Update, apply
from service.ports.queries import DeliveryQuery
from service.ports.store import Store
from tests.store.parts import LEASE, NOW, added, deliveries, failed_attempt

TIMING = Timing(120, 86_400, lambda: NOW)


async def ended(store: Store, now: int) -> list[int]:
    """Workers whose lease is over by then, taken back as far as the store does it."""
    over = await store.workers.end_expired(now)
    for worker in over:
        await store.workers.remove(worker)
    return over


async def living(store: Store, worker: int, until: int) -> int:
    """How many workers there are, once this one has renewed its lease."""
    renewed = await store.workers.renew(worker, until)
    assert renewed is not None
    return renewed.living


async def test_numbers_of_workers_are_never_given_twice(store: Store) -> None:
    first, alone = await store.workers.join(NOW, NOW + LEASE)
    second, alone_too = await store.workers.join(NOW, NOW + LEASE)
    await ended(store, NOW + LEASE)
    third, _ = await store.workers.join(NOW, NOW + LEASE)
    assert 0 < first < second < third
    assert (alone, alone_too) == (True, False)


async def test_a_lease_holds_as_long_as_it_is_renewed(store: Store, worker: int, second_worker: int) -> None:
    assert await store.workers.end_expired(NOW + LEASE - 1) == []
    assert await living(store, worker, NOW + 2 * LEASE) == 2
    assert await store.workers.end_expired(NOW + LEASE) == [second_worker]
    assert await living(store, worker, NOW + 3 * LEASE) == 1
    assert await store.workers.renew(second_worker, NOW + 3 * LEASE) is None


async def test_an_ended_worker_is_named_until_it_was_removed(store: Store, worker: int) -> None:
    assert await store.workers.end_expired(NOW + LEASE) == [worker]
    assert await store.workers.end_expired(NOW + LEASE) == [worker]
    await store.workers.remove(worker)
    assert await store.workers.end_expired(NOW + LEASE) == []


async def test_a_worker_without_a_lease_claims_nothing(store: Store, worker: int) -> None:
    lane, _ = await deliveries(store)
    await added(store)
    await ended(store, NOW + LEASE)
    assert await store.submits.claim(worker, "piapi", 9, NOW) == []
    assert await store.queue.claim(worker, lane.id, NOW, 9) == []
    assert await store.lanes.take(worker, GROUPS) == frozenset()


async def test_deliveries_of_an_ended_worker_are_free_and_its_late_outcome_changes_nothing(
    store: Store, worker: int, second_worker: int
) -> None:
    lane, [made] = await deliveries(store)
    [mine] = await store.queue.claim(worker, lane.id, NOW, 9)
    await store.workers.renew(second_worker, NOW + 2 * LEASE)
    assert await store.queue.claim(second_worker, lane.id, NOW, 9) == []
    assert await ended(store, NOW + LEASE) == [worker]
    [taken] = await store.queue.claim(second_worker, lane.id, NOW, 9)
    assert taken.n == made.n

    await store.queue.record(failed_attempt(mine, None))
    await store.queue.give_back([mine])
    [stored] = await store.deliveries.find(DeliveryQuery(None))
    assert (stored.status, stored.tries, stored.worker) == (DeliveryStatus.PENDING, 0, second_worker)
    await store.queue.record(taken.after(Attempt(NOW, 204, None, 12), None))
    [stored] = await store.deliveries.find(DeliveryQuery(None))
    assert stored.status is DeliveryStatus.DELIVERED


async def test_what_an_ended_worker_was_sending_is_unconfirmed_and_its_late_answer_changes_nothing(
    store: Store, worker: int
) -> None:
    await added(store)
    [task] = await store.submits.claim(worker, "piapi", 9, NOW)
    assert await store.workers.end_expired(NOW + LEASE) == [worker]
    [held] = await store.submits.held_by(worker)
    rescued = await store.tasks.change(Point.RECOVER, held.id, under_claim(held, lost(False, TIMING)))
    assert rescued is not None
    assert (rescued.status, rescued.worker) == (S.UNCONFIRMED, None)
    for late in (given_back(task), under_claim(task, apply(Update(S.SUBMITTED, "p-1"), TIMING), end=True)):
        assert await store.tasks.change(Point.SUBMIT_ANSWER, task.id, late) == rescued


async def test_a_late_worker_does_not_give_back_what_another_one_sends(
    store: Store, worker: int, second_worker: int
) -> None:
    await added(store)
    [task] = await store.submits.claim(worker, "piapi", 9, NOW)
    await store.tasks.change(Point.GIVE_BACK, task.id, given_back(task))
    [again] = await store.submits.claim(second_worker, "piapi", 9, NOW)
    assert await store.tasks.change(Point.GIVE_BACK, task.id, given_back(task)) == again


async def test_a_stream_that_nobody_holds_any_more_is_interrupted(store: Store, worker: int) -> None:
    await added(store)
    [task] = await store.submits.claim(worker, "piapi", 9, NOW)
    held = await store.tasks.change(Point.HOLD, task.id, under_claim(task, apply(Update(S.PROCESSING), TIMING)))
    assert held is not None
    cut = await store.tasks.change(Point.RECOVER, task.id, under_claim(held, lost(True, TIMING)))
    assert cut is not None
    assert cut.error is not None
    assert (cut.status, cut.error.code) == (S.FAILED, "stream_interrupted")


async def test_a_lane_has_one_owner(store: Store, worker: int, second_worker: int) -> None:
    taken = await asyncio.gather(*(store.lanes.take(one, 40) for one in (worker, second_worker)))
    assert sum(map(len, taken)) == GROUPS
    assert taken[0] | taken[1] == ALL_GROUPS


async def test_lanes_that_are_released_may_be_taken(store: Store, worker: int, second_worker: int) -> None:
    assert await store.lanes.take(worker, GROUPS) == ALL_GROUPS
    assert await store.lanes.take(second_worker, GROUPS) == frozenset()
    await store.lanes.release(worker, {1, 2})
    await store.lanes.release(second_worker, {3})
    assert await store.lanes.take(second_worker, GROUPS) == {1, 2}
    assert await store.lanes.take(worker, 0) == ALL_GROUPS - {1, 2}


async def test_a_renewal_tells_how_many_lanes_nobody_owns_and_the_time(store: Store, worker: int) -> None:
    await store.lanes.take(worker, GROUPS - 3)
    before = await store.workers.now()
    renewed = await store.workers.renew(worker, NOW + 2 * LEASE)
    assert renewed is not None
    assert renewed.free_groups == 3
    assert before <= renewed.now <= await store.workers.now()


async def test_lanes_of_an_ended_worker_are_free(store: Store, worker: int, second_worker: int) -> None:
    await store.lanes.take(worker, GROUPS)
    await store.workers.renew(second_worker, NOW + 2 * LEASE)
    await ended(store, NOW + LEASE)
    assert await store.lanes.take(second_worker, GROUPS) == ALL_GROUPS


async def test_the_store_has_a_clock(store: Store) -> None:
    assert await store.workers.now() <= await store.workers.now()
