"""Claiming what waits for a provider."""

import asyncio

from service.core.points import Point
from service.core.task import Status as S
from service.core.transitions import given_back
from service.ports.store import Store
from service.ports.work import TaskTypes
from tests.store.parts import NOW, added, finished, sent, to

MANY = 1000


async def test_many_claims_at_once_get_no_task_twice_and_no_more_than_the_capacity(store: Store, worker: int) -> None:
    for _ in range(20):
        await added(store)
    claims = await asyncio.gather(*(store.submits.claim(worker, "piapi", 3 + n, NOW) for n in range(8)))
    ids = [task.id for claim in claims for task in claim]
    assert len(ids) == len(set(ids)) == 10


async def test_two_workers_together_claim_no_more_than_the_capacity(
    store: Store, worker: int, second_worker: int
) -> None:
    for _ in range(9):
        await added(store)
    claims = await asyncio.gather(
        *(store.submits.claim(one, "piapi", 5, NOW) for one in (worker, second_worker, worker, second_worker))
    )
    ids = [task.id for claim in claims for task in claim]
    assert len(ids) == len(set(ids)) == 5


async def test_tasks_are_claimed_in_the_order_they_came_and_marked_as_being_sent(store: Store, worker: int) -> None:
    tasks = [await added(store) for _ in range(3)]
    claimed = await store.submits.claim(worker, "piapi", 2, NOW + 7)
    assert [task.id for task in claimed] == [task.id for task in tasks[:2]]
    assert {(task.sent_at, task.attempts, task.status, task.worker) for task in claimed} == {
        (NOW + 7, 1, S.QUEUED, worker)
    }
    assert await store.tasks.get(claimed[0].id) == claimed[0]


async def test_only_what_waits_for_this_provider_is_claimed(store: Store, worker: int) -> None:
    await added(store, provider="modelslab")
    await finished(store)
    assert not await store.submits.waiting("piapi")
    assert await store.submits.claim(worker, "piapi", MANY, NOW) == []
    assert await store.submits.waiting("modelslab")


async def test_owners_take_turns_however_much_one_of_them_has_waiting(store: Store, worker: int) -> None:
    for owner in ("alice",) * 5 + ("bob", "carol"):
        await added(store, owner=owner)
    first = await store.submits.claim(worker, "piapi", 3, NOW)
    assert sorted(task.owner for task in first) == ["alice", "bob", "carol"]
    assert [task.owner for task in await store.submits.claim(worker, "piapi", 5, NOW)] == ["alice"] * 2


async def test_who_had_the_last_turn_is_behind_the_others_at_the_next(store: Store, worker: int) -> None:
    for owner in ("alice", "alice", "bob", "bob", "carol"):
        await added(store, owner=owner)
    claims = [await store.submits.claim(worker, "piapi", n, NOW) for n in (1, 2, 3, 4)]
    assert [claim[0].owner for claim in claims] == ["alice", "bob", "carol", "alice"]


async def test_a_task_that_was_given_back_is_claimed_again(store: Store, worker: int) -> None:
    task = await sent(store)
    await store.tasks.change(Point.GIVE_BACK, task.id, given_back(task))
    [again] = await store.submits.claim(worker, "piapi", MANY, NOW)
    assert (again.id, again.attempts) == (task.id, 1)


async def test_what_was_sent_and_is_open_takes_a_place_at_the_provider(store: Store, worker: int) -> None:
    for status in (None, S.SUBMITTED, S.PROCESSING, S.UNCONFIRMED, S.COMPLETED):
        task = await sent(store)
        if status is not None:
            await store.tasks.change(Point.SUBMIT_ANSWER, task.id, to(status))
    for _ in range(9):
        await added(store)
    assert await store.submits.claim(worker, "piapi", 3, NOW) == []
    assert len(await store.submits.claim(worker, "piapi", 5, NOW)) == 2


async def test_a_canceled_task_counts_as_inflight_while_it_may_still_run(store: Store, worker: int) -> None:
    task = await sent(store)
    await store.tasks.change(Point.CANCEL, task.id, to(S.CANCELED, place_until=NOW + 50))
    await added(store)
    assert await store.submits.claim(worker, "piapi", 1, NOW + 49) == []
    assert len(await store.submits.claim(worker, "piapi", 1, NOW + 50)) == 1


async def test_a_worker_holds_what_it_sends_until_the_claim_ends(store: Store, worker: int, second_worker: int) -> None:
    await added(store)
    await added(store)
    mine, other = await store.submits.claim(worker, "piapi", MANY, NOW)
    assert [task.id for task in await store.submits.held_by(worker)] == [mine.id, other.id]
    assert await store.submits.held_by(second_worker) == []
    await store.tasks.change(Point.SUBMIT_ANSWER, mine.id, to(S.SUBMITTED, worker=None))
    await store.tasks.change(Point.HOLD, other.id, to(S.PROCESSING))
    assert [task.id for task in await store.submits.held_by(worker)] == [other.id]


async def test_only_so_many_are_claimed_at_once(store: Store, worker: int) -> None:
    for _ in range(5):
        await added(store)
    assert len(await store.submits.claim(worker, "piapi", MANY, NOW, limit=2)) == 2
    assert len(await store.submits.claim(worker, "piapi", 3, NOW, limit=2)) == 1
    assert await store.submits.claim(worker, "piapi", 3, NOW, limit=2) == []


async def test_task_types_that_rest_are_passed_over(store: Store, worker: int) -> None:
    chats = [await added(store, task_type="chat-completions") for _ in range(2)]
    picture = await added(store, task_type="txt2img")
    of_bob = await added(store, task_type="txt2img", owner="bob")
    llm = frozenset({"chat-completions", "image-generations"})
    claimed = await store.submits.claim(worker, "piapi", MANY, NOW, types=TaskTypes(llm, excluded=True))
    assert {task.id for task in claimed} == {picture.id, of_bob.id}
    assert await store.submits.claim(worker, "piapi", MANY, NOW, types=TaskTypes(llm, excluded=True)) == []
    claimed = await store.submits.claim(worker, "piapi", MANY, NOW, types=TaskTypes(llm, excluded=False))
    assert [task.id for task in claimed] == [task.id for task in chats]
