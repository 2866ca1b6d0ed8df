"""Which tasks are due for a check, and which are beyond their deadline."""

import asyncio

from service.core.points import Point
from service.core.task import Status as S
from service.core.transitions import given_back
from service.ports.store import Store
from tests.store.parts import DAY, NOW, added, finished, sent, to


async def test_due_checks_are_claimed_in_order_for_one_provider_and_not_for_finished_tasks(store: Store) -> None:
    due = []
    for wait in (30, 10, 20, 99):
        task = await sent(store)
        await store.tasks.change(Point.SUBMIT_ANSWER, task.id, to(S.SUBMITTED, check_at=NOW + wait))
        due.append(task.id)
    other = await sent(store, provider="modelslab")
    await store.tasks.change(Point.SUBMIT_ANSWER, other.id, to(S.SUBMITTED, check_at=NOW))
    await store.tasks.change(Point.CALLBACK, due[2], to(S.COMPLETED))
    [first] = await store.checks.claim("piapi", NOW + 50, NOW + 60, 1)
    rest = await store.checks.claim("piapi", NOW + 50, NOW + 60, 10)
    assert [task.id for task in (first, *rest)] == [due[1], due[0]]


async def test_a_claimed_check_is_due_again_when_its_claim_is_over(store: Store) -> None:
    task = await sent(store)
    await store.tasks.change(Point.SUBMIT_ANSWER, task.id, to(S.SUBMITTED, check_at=NOW))
    claims = await asyncio.gather(*(store.checks.claim("piapi", NOW, NOW + 60, 10) for _ in range(4)))
    assert [item.id for claim in claims for item in claim] == [task.id]
    assert await store.checks.next_due("piapi") == NOW + 60
    assert len(await store.checks.claim("piapi", NOW + 60, NOW + DAY, 10)) == 1


async def test_at_a_start_every_open_task_at_a_provider_is_due(store: Store) -> None:
    there, over = [await sent(store) for _ in range(2)]
    await added(store)
    await store.tasks.change(Point.SUBMIT_ANSWER, there.id, to(S.SUBMITTED, check_at=NOW + DAY))
    await store.tasks.change(Point.CALLBACK, over.id, to(S.COMPLETED))
    await store.checks.all_due(NOW)
    assert [task.id for task in await store.checks.claim("piapi", NOW, NOW + DAY, 10)] == [there.id]


async def test_overdue_are_open_tasks_beyond_their_deadline_oldest_first(store: Store) -> None:
    late, later = [await added(store, deadline_at=NOW + wait) for wait in (2, 1)]
    await added(store, deadline_at=NOW + 100)
    await finished(store, deadline_at=NOW)
    assert [task.id for task in await store.checks.overdue(NOW + 50, 10)] == [later.id, late.id]
    assert len(await store.checks.overdue(NOW + 50, 1)) == 1


async def test_overdue_is_also_what_moved_after_it_was_given_back(store: Store) -> None:
    task = await sent(store, deadline_at=NOW)
    await store.tasks.change(Point.GIVE_BACK, task.id, given_back(task))
    await store.tasks.change(Point.CALLBACK, task.id, to(S.PROCESSING))
    assert [item.id for item in await store.checks.overdue(NOW, 10)] == [task.id]


async def test_the_next_deadline_is_the_earliest_of_what_is_not_finished(store: Store) -> None:
    assert await store.checks.next_deadline() is None
    await finished(store, deadline_at=NOW)
    assert await store.checks.next_deadline() is None
    await sent(store, deadline_at=NOW + 500)
    await added(store, deadline_at=NOW + 900)
    assert await store.checks.next_deadline() == NOW + 500


async def test_the_next_check_is_the_earliest_of_the_open_tasks_of_one_provider(store: Store) -> None:
    await sent(store)
    assert await store.checks.next_due("piapi") is None
    due = {}
    for provider, wait in (("modelslab", 1), ("piapi", 5), ("piapi", 20), ("piapi", 9)):
        task = await sent(store, provider=provider)
        await store.tasks.change(Point.SUBMIT_ANSWER, task.id, to(S.SUBMITTED, check_at=NOW + wait))
        due[wait] = task.id
    await store.tasks.change(Point.CALLBACK, due[5], to(S.COMPLETED))
    assert await store.checks.next_due("piapi") == NOW + 9
