"""What every store must do, said in words of service/ports.py alone; a test file per store runs it.

A subclass gives two fixtures: `store`, and `after_a_crash`, which opens what an abandoned store left behind.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from service.core.delivery import Attempt, Delivery, DeliveryStatus
from service.core.errors import Conflict, IdempotencyMismatch
from service.core.event import EVENT_TYPES, FINISHING_EVENTS, Event
from service.core.ids import new_id
from service.core.points import Point
from service.core.result import Copy, Failure, File, Output, Progress
from service.core.subscription import Subscription
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import Decide, Decision, given_back, tell
from service.ports import Call, DeliveryQuery, EventQuery, Idempotency, Store, TaskQuery

NOW = 1_770_000_000_000
DAY = 86_400_000
LEASE = 60_000
URL = "https://example.com/hook"
AfterACrash = Callable[[], Awaitable[Any]]
# By the text with which a query asks for it.
TEXTS: dict[str, Any] = {
    "A-17": "A-17",
    "a-17": "a-17",
    "": "",
    "17": 17,
    "-17": -17,
    "1.5": 1.5,
    "9223372036854775807": 2**63 - 1,
    "true": True,
    "false": False,
    "null": None,
    "кот 🐈": "кот 🐈",
    'a"b\\c\n': 'a"b\\c\n',
    '{"a":[1,"b"],"c":null}': {"a": [1, "b"], "c": None},
    '[1,{"a":true}]': [1, {"a": True}],
    "[]": [],
}


_numbers = itertools.count()


def a_task(**changes: Any) -> Task:
    created_at = changes.get("created_at", NOW)
    fields: dict[str, Any] = {
        # As `new_id` makes it, at the time of this task.
        "id": f"tsk_{created_at:012x}{next(_numbers):04x}{0:016x}",
        "owner": "alice",
        "provider": "piapi",
        "model": "Qubico/flux1-schnell",
        "task_type": "txt2img",
        "input": {"prompt": "a cat"},
        "created_at": NOW,
        "updated_at": NOW,
        "deadline_at": NOW + DAY,
    }
    return Task(**fields | changes)


def a_subscription(**changes: Any) -> Subscription:
    fields: dict[str, Any] = {
        "id": new_id("sub"),
        "owner": "alice",
        "url": URL,
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Subscription(**fields | changes)


def to(status: S, now: int = NOW, **changes: Any) -> Decide:
    return lambda task: tell(task, task.moved(status, now, **changes))


def refuse(task: Task) -> Decision:
    raise Conflict("no")


async def added(store: Store, **changes: Any) -> Task:
    task, _ = await store.tasks.add(a_task(**changes), None)
    return task


async def sent(store: Store, **changes: Any) -> Task:
    """A task that is being sent to its provider."""
    task = await added(store, **changes)
    [claimed] = await store.tasks.claim_queued(task.provider, task.owner, 1, NOW)
    return claimed


async def finished(store: Store, now: int = NOW, **changes: Any) -> Task:
    task = await added(store, **changes)
    moved = await store.tasks.change(Point.CALLBACK, task.id, to(S.COMPLETED, now))
    assert moved is not None
    return moved


async def deliveries(store: Store, count: int = 1) -> tuple[Subscription, list[Delivery]]:
    """A subscription with that many pending deliveries, oldest first."""
    subscription = a_subscription()
    await store.subscriptions.add(subscription)
    for _ in range(count):
        await finished(store)
    found = await store.deliveries.find(DeliveryQuery(None, subscription_id=subscription.id))
    return subscription, found[::-1]


async def a_mixture(store: Store, count: int) -> list[Task]:
    """Tasks of every kind, oldest first."""
    tasks = []
    for n in range(count):
        task = await added(
            store,
            owner=("alice", "bob", "carol")[n // 2 % 3],
            provider=("piapi", "modelslab")[n % 2],
            model=("x", "y")[n // 3 % 2],
            metadata={"all": "yes", "third": n % 3, "fifth": n % 5},
        )
        status = (S.QUEUED, S.PROCESSING, S.COMPLETED, S.COMPLETED, S.FAILED)[n // 4 % 5]
        if status is not S.QUEUED:
            moved = await store.tasks.change(Point.CALLBACK, task.id, to(status, sent_at=NOW))
            assert moved is not None
            task = moved
        tasks.append(task)
    return tasks


def agrees(task: Task, query: TaskQuery) -> bool:
    return (
        query.owner in (None, task.owner)
        and query.status in (None, task.status.value)
        and query.provider in (None, task.provider)
        and query.model in (None, task.model)
        and all(str(task.metadata.get(key)) == value for key, value in query.metadata.items())
    )


async def some_pages(store: Store, query: TaskQuery, count: int) -> list[Task]:
    """At most one page more than `count` tasks."""
    found: list[Task] = []
    while len(found) <= count and (page := await store.tasks.find(query)):
        found += page
        query = replace(query, before=page[-1].id)
    return found


async def events(store: Store, **query: Any) -> list[Event]:
    return await store.events.after(EventQuery(**{"owner": None} | query))


def failed_attempt(delivery: Delivery, next_attempt_at: int | None) -> Delivery:
    return delivery.after(Attempt(NOW, 500, None, 12), next_attempt_at)


async def tidied(store: Store, before: int = NOW + 1) -> None:
    """All that is older is removed, one task at a time."""
    after: str | None = ""
    while after is not None:
        after = await store.remove_tasks(before, after, 1)
    while await store.remove_leftovers(before, 0, 1):
        pass


class Ears:
    """A listener that wants every delivery on disk."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def wants(self, lane: str) -> bool:
        return False

    def told(self, event: Event) -> None:
        self.heard.append(event)

    def handed(self, delivery: Delivery) -> None:
        raise AssertionError("nobody wanted this")


class StoreContract:
    # --- adding ---

    async def test_a_task_comes_back_as_it_was_stored(self, store: Store) -> None:
        task = a_task(
            input={"prompt": "Ünïcödé 🐱\u2028", "deep": [[{"n": 2**53 + 1}]], "none": None, "float": 0.1},
            metadata={"order": "A-17", "paid": True},
            config={"service_mode": "public"},
            callback_url=URL,
            callback_events=("task.completed",),
            warnings=("unknown lora",),
            links={"self": "/v1/tasks/x"},
        )
        await store.tasks.add(task, None)
        assert await store.tasks.get(task.id) == task

    async def test_what_happens_to_a_task_comes_back_too(self, store: Store) -> None:
        task = await added(store)
        changes: dict[str, Any] = {
            "output": Output((File(URL, "image", "image_url", copy=Copy("pending")),), "text", {"image_url": URL}),
            "error": Failure("no_output", "x"),
            "usage": {"consume": 1},
            "provider_task_id": "p-1",
            "provider_status": "Completed",
            "expires_at": NOW + DAY,
            "sent_at": NOW,
            "finished_by_us": True,
            "checks": 3,
            "earlier_ids": ("p-0",),
            "attempts": 2,
        }
        moved = await store.tasks.change(Point.CALLBACK, task.id, to(S.FAILED, NOW + 5, **changes))
        assert await store.tasks.get(task.id) == moved
        assert moved is not None
        assert all(getattr(moved, name) == value for name, value in changes.items())

    async def test_an_unknown_task_is_none(self, store: Store) -> None:
        assert await store.tasks.get("tsk_nobody") is None
        assert await store.tasks.change(Point.CANCEL, "tsk_nobody", to(S.CANCELED)) is None

    async def test_the_same_key_and_body_give_the_first_task(self, store: Store) -> None:
        key = Idempotency("k", b"body")
        first, replayed = await store.tasks.add(a_task(), key)
        again, replayed_again = await store.tasks.add(a_task(), key)
        assert (again.id, replayed, replayed_again) == (first.id, False, True)
        assert len(await store.tasks.find(TaskQuery(None))) == len(await events(store)) == 1

    async def test_the_same_key_with_another_body_is_refused(self, store: Store) -> None:
        await store.tasks.add(a_task(), Idempotency("k", b"body"))
        with pytest.raises(IdempotencyMismatch):
            await store.tasks.add(a_task(), Idempotency("k", b"other"))
        assert len(await store.tasks.find(TaskQuery(None))) == 1

    async def test_a_key_belongs_to_its_owner(self, store: Store) -> None:
        key = Idempotency("k", b"body")
        await store.tasks.add(a_task(owner="alice"), key)
        _, replayed = await store.tasks.add(a_task(owner="bob"), key)
        assert not replayed

    async def test_one_key_used_many_times_at_once_makes_one_task(self, store: Store) -> None:
        key = Idempotency("k", b"body")
        answers = await asyncio.gather(*(store.tasks.add(a_task(), key) for _ in range(10)))
        assert len({task.id for task, _ in answers}) == 1
        assert sum(not replayed for _, replayed in answers) == 1

    # --- moves ---

    async def test_a_move_its_event_and_its_deliveries_are_stored_together(self, store: Store) -> None:
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

    async def test_an_event_holds_the_task_as_the_move_left_it(self, store: Store) -> None:
        task = await finished(store)
        completed = (await events(store, task_id=task.id))[-1]
        assert b'"status":"completed"' in completed.body
        assert f'"seq":{completed.seq}'.encode() in completed.body

    async def test_two_steps_of_one_decision_are_two_events_in_order(self, store: Store) -> None:
        task = await added(store)
        one = task.moved(S.SUBMITTED, NOW)
        two = one.moved(S.PROCESSING, NOW)
        await store.tasks.change(Point.CALLBACK, task.id, lambda _: ((one, "task.submitted"), (two, "task.processing")))
        assert [event.type for event in await events(store)][1:] == ["task.submitted", "task.processing"]
        assert (await store.tasks.get(task.id)) == two

    async def test_a_decision_for_nothing_changes_and_tells_nothing(self, store: Store) -> None:
        task = await finished(store)
        before = await events(store)
        assert await store.tasks.change(Point.CALLBACK, task.id, lambda _: ()) == task
        assert await events(store) == before

    async def test_a_change_without_an_event_tells_nobody(self, store: Store) -> None:
        task = await sent(store)
        again = await store.tasks.change(Point.GIVE_BACK, task.id, given_back)
        assert again is not None
        assert again.sent_at is None
        assert [event.type for event in await events(store)] == ["task.queued"]

    async def test_a_refused_decision_leaves_everything_as_it_was(self, store: Store) -> None:
        task = await added(store)
        with pytest.raises(Conflict):
            await store.tasks.change(Point.CANCEL, task.id, refuse, Call("piapi", task.id, "accepted", 200))
        assert await store.tasks.get(task.id) == task
        assert len(await events(store)) == 1
        assert await store.calls.find(None, None, None, 10) == []

    async def test_a_decision_that_breaks_half_way_leaves_nothing_and_spares_its_neighbours(self, store: Store) -> None:
        tasks = [await added(store) for _ in range(5)]

        def broken(task: Task) -> Any:
            return ((task.moved(S.SUBMITTED, NOW), "task.submitted"), (None, "task.completed"))

        decisions = [to(S.COMPLETED), broken, to(S.FAILED), refuse, to(S.CANCELED)]
        outcomes = await asyncio.gather(
            *(
                store.tasks.change(Point.CALLBACK, task.id, decide)
                for task, decide in zip(tasks, decisions, strict=True)
            ),
            return_exceptions=True,
        )
        assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False, True, False]
        stored = [await store.tasks.get(task.id) for task in tasks]
        assert [task.status.value for task in stored if task] == [
            "completed", "queued", "failed", "queued", "canceled",
        ]  # fmt: skip
        told = [event.type for event in await events(store)]
        assert sorted(told[5:]) == ["task.canceled", "task.completed", "task.failed"]

    async def test_changes_of_one_moment_see_each_other(self, store: Store) -> None:
        """They may share a transaction: each starts from what the one before left, and a claim takes what was added."""
        task = a_task()

        async def moved(status: S, **changes: Any) -> Task | None:
            return await store.tasks.change(Point.CALLBACK, task.id, to(status, **changes))

        _, claimed, _, _, last = await asyncio.gather(
            store.tasks.add(task, None),
            store.tasks.claim_queued("piapi", "alice", 1, NOW),
            moved(S.SUBMITTED, check_at=NOW + 5),
            moved(S.PROCESSING, progress=Progress(percent=5)),
            moved(S.PROCESSING, progress=Progress(percent=9)),
        )
        assert [item.id for item in claimed] == [task.id]
        assert last is not None
        assert (last.attempts, last.progress, last.check_at) == (1, Progress(percent=9), NOW + 5)
        assert await store.tasks.get(task.id) == last
        assert [item.id for item in await store.tasks.due_checks("piapi", NOW + 5, 10)] == [task.id]
        assert len(await events(store, task_id=task.id)) == 4

    async def test_every_open_task_can_be_changed_however_many_there_are(self, store: Store) -> None:
        tasks = [await sent(store, input={"prompt": "x" * size}) for size in (1, 100, 20_000, 100_000, 1)]
        for status in (S.SUBMITTED, S.PROCESSING, S.COMPLETED):
            moved = await asyncio.gather(
                *(store.tasks.change(Point.CALLBACK, task.id, to(status)) for task in reversed(tasks))
            )
            assert [task.status for task in moved if task] == [status] * 5
        assert [await store.tasks.get(task.id) for task in reversed(tasks)] == moved

    async def test_a_call_is_written_down_with_what_it_did(self, store: Store) -> None:
        task = await added(store)
        call = Call("piapi", task.id, "accepted", 200)
        await store.tasks.change(Point.CALLBACK, task.id, to(S.COMPLETED), call)
        await store.tasks.change(Point.CALLBACK, task.id, lambda _: (), call)
        rows = await store.calls.find(None, task.id, None, 10)
        assert [row["result"] for row in rows] == ["repeated", "accepted"]

    # --- the queue of one provider ---

    async def test_many_workers_never_get_the_same_task(self, store: Store) -> None:
        for _ in range(20):
            await added(store)
        claims = await asyncio.gather(*(store.tasks.claim_queued("piapi", "alice", 3, NOW) for _ in range(8)))
        ids = [task.id for claim in claims for task in claim]
        assert len(ids) == len(set(ids)) == 20

    async def test_tasks_are_claimed_in_the_order_they_came_and_marked_as_being_sent(self, store: Store) -> None:
        tasks = [await added(store) for _ in range(3)]
        claimed = await store.tasks.claim_queued("piapi", "alice", 2, NOW + 7)
        assert [task.id for task in claimed] == [task.id for task in tasks[:2]]
        assert [(task.sent_at, task.attempts, task.status) for task in claimed] == [(NOW + 7, 1, S.QUEUED)] * 2
        assert await store.tasks.get(claimed[0].id) == claimed[0]

    async def test_a_claim_takes_only_what_waits_for_this_provider_and_owner(self, store: Store) -> None:
        await added(store, owner="bob")
        await added(store, provider="modelslab")
        await finished(store)
        assert await store.tasks.claim_queued("piapi", "alice", 10, NOW) == []

    async def test_owners_are_those_with_something_waiting(self, store: Store) -> None:
        for owner in ("carol", "alice", "alice", "bob"):
            await added(store, owner=owner)
        await added(store, owner="dave", provider="modelslab")
        await store.tasks.claim_queued("piapi", "bob", 1, NOW)
        assert sorted(await store.tasks.queued_owners("piapi")) == ["alice", "carol"]
        assert await store.tasks.queued_owners("nobody") == []

    async def test_a_task_that_was_given_back_is_claimed_again(self, store: Store) -> None:
        task = await sent(store)
        await store.tasks.change(Point.GIVE_BACK, task.id, given_back)
        [again] = await store.tasks.claim_queued("piapi", "alice", 1, NOW)
        assert (again.id, again.attempts) == (task.id, 1)

    async def test_at_the_provider_is_what_was_sent_and_is_open(self, store: Store) -> None:
        await added(store, created_at=NOW - 1, provider="modelslab")
        for status in (None, S.SUBMITTED, S.PROCESSING, S.UNCONFIRMED, S.COMPLETED):
            task = await sent(store)
            if status is not None:
                await store.tasks.change(Point.SUBMIT_ANSWER, task.id, to(status))
        await added(store)
        assert await store.tasks.at_provider("piapi", 100) == 3
        assert await store.tasks.at_provider("piapi", 2) == 2
        assert await store.tasks.at_provider("modelslab", 100) == 0
        assert len(await store.tasks.held(["piapi", "modelslab"])) == 3
        assert len(await store.tasks.perhaps_sent()) == 1

    # --- checks and deadlines ---

    async def test_due_checks_come_in_order_for_one_provider_and_not_for_finished_tasks(self, store: Store) -> None:
        due = []
        for wait in (30, 10, 20, 99):
            task = await sent(store)
            await store.tasks.change(Point.SUBMIT_ANSWER, task.id, to(S.SUBMITTED, check_at=NOW + wait))
            due.append(task.id)
        other = await sent(store, provider="modelslab")
        await store.tasks.change(Point.SUBMIT_ANSWER, other.id, to(S.SUBMITTED, check_at=NOW))
        await store.tasks.change(Point.CALLBACK, due[2], to(S.COMPLETED))
        found = await store.tasks.due_checks("piapi", NOW + 50, 10)
        assert [task.id for task in found] == [due[1], due[0]]
        assert len(await store.tasks.due_checks("piapi", NOW + 50, 1)) == 1

    async def test_at_a_start_every_open_task_at_a_provider_is_due(self, store: Store) -> None:
        there, over = [await sent(store) for _ in range(2)]
        await added(store)
        await store.tasks.change(Point.SUBMIT_ANSWER, there.id, to(S.SUBMITTED, check_at=NOW + DAY))
        await store.tasks.change(Point.CALLBACK, over.id, to(S.COMPLETED))
        await store.tasks.check_all_open(NOW)
        assert [task.id for task in await store.tasks.due_checks("piapi", NOW, 10)] == [there.id]

    async def test_overdue_are_open_tasks_beyond_their_deadline_oldest_first(self, store: Store) -> None:
        late, later = [await added(store, deadline_at=NOW + wait) for wait in (2, 1)]
        await added(store, deadline_at=NOW + 100)
        await finished(store, deadline_at=NOW)
        assert [task.id for task in await store.tasks.overdue(NOW + 50, 10)] == [later.id, late.id]
        assert len(await store.tasks.overdue(NOW + 50, 1)) == 1

    async def test_overdue_is_also_what_moved_after_it_was_given_back(self, store: Store) -> None:
        task = await sent(store, deadline_at=NOW)
        await store.tasks.change(Point.GIVE_BACK, task.id, given_back)
        await store.tasks.change(Point.CALLBACK, task.id, to(S.PROCESSING))
        assert [item.id for item in await store.tasks.overdue(NOW, 10)] == [task.id]

    async def test_the_next_deadline_is_the_earliest_of_what_is_not_finished(self, store: Store) -> None:
        assert await store.tasks.next_deadline() is None
        await finished(store, deadline_at=NOW)
        assert await store.tasks.next_deadline() is None
        await sent(store, deadline_at=NOW + 500)
        await added(store, deadline_at=NOW + 900)
        assert await store.tasks.next_deadline() == NOW + 500

    async def test_the_next_check_is_the_earliest_of_the_open_tasks_of_one_provider(self, store: Store) -> None:
        await sent(store)
        assert await store.tasks.next_check("piapi") is None
        due = {}
        for provider, wait in (("modelslab", 1), ("piapi", 5), ("piapi", 20), ("piapi", 9)):
            task = await sent(store, provider=provider)
            await store.tasks.change(Point.SUBMIT_ANSWER, task.id, to(S.SUBMITTED, check_at=NOW + wait))
            due[wait] = task.id
        await store.tasks.change(Point.CALLBACK, due[5], to(S.COMPLETED))
        assert await store.tasks.next_check("piapi") == NOW + 9

    # --- looking for tasks ---

    async def test_a_query_without_terms_finds_everything_newest_first(self, store: Store) -> None:
        tasks = [await added(store, owner=owner) for owner in ("alice", "bob", "alice")]
        found = await store.tasks.find(TaskQuery(None))
        assert [task.id for task in found] == [task.id for task in reversed(tasks)]

    async def test_every_term_of_a_query_narrows_it(self, store: Store) -> None:
        wanted = await finished(store, metadata={"order": "A-17", "n": 1})
        await added(store, metadata={"order": "A-17"})
        for other in ({"owner": "bob"}, {"provider": "modelslab"}, {"model": "x"}, {"metadata": {"order": "B"}}):
            await finished(store, **{"metadata": {"order": "A-17"}} | other)
        query = TaskQuery("alice", status="completed", provider="piapi", model=wanted.model, metadata={"order": "A-17"})
        assert [task.id for task in await store.tasks.find(query)] == [wanted.id]

    @pytest.mark.parametrize("value", list(TEXTS))
    async def test_tasks_are_found_by_the_text_of_their_metadata(self, store: Store, value: str) -> None:
        tasks = {text: await added(store, metadata={"k": kept}) for text, kept in TEXTS.items()}
        found = await store.tasks.find(TaskQuery("alice", metadata={"k": value}))
        assert [task.id for task in found] == [tasks[value].id]

    @pytest.mark.parametrize("key", ["", "a.b", 'a"b', "a'b", "a\\b", "$[0]", "ключ 🐈", "a" * 5000])
    async def test_any_text_is_a_key_of_metadata(self, store: Store, key: str) -> None:
        task = await added(store, metadata={"a": 1, key: 2, key + "b": 3})
        assert await store.tasks.find(TaskQuery("alice", metadata={key: "2"})) == [task]
        assert await store.tasks.find(TaskQuery("alice", metadata={key: "3"})) == []

    async def test_long_texts_that_begin_alike_are_told_apart(self, store: Store) -> None:
        long = "https://example.com/" * 50
        tasks = [await added(store, metadata={long + end: long + end, long + "z": long, long: 1}) for end in "ab"]
        for task, end in zip(tasks, "ab", strict=True):
            assert await store.tasks.find(TaskQuery("alice", metadata={long + end: long + end})) == [task]
        for other in ({long + "a": long + "b"}, {long + "a": long}, {long: long + "a"}, {long + "c": long + "a"}):
            assert await store.tasks.find(TaskQuery("alice", metadata=other)) == []

    async def test_a_search_finds_in_pages_what_a_look_at_every_task_would(self, store: Store) -> None:
        tasks = await a_mixture(store, 60)
        for owner, status, provider, model, metadata in itertools.product(
            (None, "alice", "nobody"),
            (None, "queued", "processing", "completed", "failed"),
            (None, "piapi"),
            (None, "x"),
            ({}, {"all": "yes"}, {"third": "0"}, {"third": "0", "all": "yes", "fifth": "0"}, {"third": "0", "no": ""}),
        ):
            query = TaskQuery(owner, status, provider, model, metadata, limit=3)
            assert [task.id for task in await some_pages(store, query, len(tasks))] == [
                task.id for task in reversed(tasks) if agrees(task, query)
            ], query

    @pytest.mark.parametrize("status", list(S))
    async def test_tasks_are_found_by_any_status_newest_first(self, store: Store, status: S) -> None:
        made: list[Task] = []
        for owner in ("alice", "bob", "alice"):
            for one in set(S) - {S.QUEUED}:
                task = await store.tasks.change(Point.CALLBACK, (await sent(store, owner=owner)).id, to(one))
                assert task is not None
                made.append(task)
        made += [await added(store, owner=owner) for owner in ("alice", "bob", "alice")]
        wanted = [task.id for task in made if task.owner == "alice" and task.status is status]
        found = await store.tasks.find(TaskQuery("alice", status=status.value))
        assert [task.id for task in found] == wanted[::-1]

    async def test_pages_of_tasks_join_without_gap_or_repeat(self, store: Store) -> None:
        tasks = [await added(store) for _ in range(7)]
        assert await some_pages(store, TaskQuery("alice", limit=3), 7) == tasks[::-1]

    # --- events ---

    async def test_events_are_bounded_by_seq_owner_task_and_type(self, store: Store) -> None:
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

    async def test_the_latest_events_come_newest_first(self, store: Store) -> None:
        for _ in range(3):
            await finished(store)
        latest = await store.events.latest(EventQuery(None, types=("task.completed",), limit=2))
        assert latest == [event for event in (await events(store))[::-1] if event.type == "task.completed"][:2]

    async def test_a_seq_is_never_given_twice_also_after_the_newest_were_removed(self, store: Store) -> None:
        assert await store.events.last_seq() == 0
        await finished(store)
        last = (await events(store))[-1].seq
        assert await store.events.last_seq() == last
        await tidied(store, NOW + DAY)
        assert await events(store) == []
        assert await store.events.last_seq() == last
        await added(store)
        assert [event.seq > last for event in await events(store)] == [True]

    async def test_the_seq_at_a_moment_is_the_last_one_before_it(self, store: Store) -> None:
        for moment in (NOW, NOW + 10, NOW + 20):
            await added(store, created_at=moment)
        seqs = [event.seq for event in await events(store)]
        assert await store.events.seq_at(NOW) == 0
        assert await store.events.seq_at(NOW + 11) == seqs[1]
        assert await store.events.seq_at(NOW + DAY) == seqs[2]

    async def test_whoever_listens_is_told_of_every_commit_in_order(self, store: Any) -> None:
        ears = Ears()
        store.listen(ears)
        tasks = await asyncio.gather(*(added(store) for _ in range(5)))
        changes = [
            store.tasks.change(Point.CALLBACK, task.id, refuse if n == 2 else to(S.COMPLETED))
            for n, task in enumerate(tasks)
        ]
        await asyncio.gather(*changes, return_exceptions=True)
        assert ears.heard == await events(store)
        assert len(ears.heard) == 9

    # --- subscriptions ---

    async def test_a_subscription_comes_back_as_it_was_stored(self, store: Store) -> None:
        one = a_subscription(
            events=("task.completed", "ping"),
            filter={"provider": "piapi", "metadata": {"n": 1}},
            description="mine",
            headers={"X-Mine": "1"},
            old_secrets=(("whsec_b2xk", NOW),),
            enabled=False,
            disabled_reason="gone",
            failing_since=NOW,
        )
        await store.subscriptions.add(one)
        assert await store.subscriptions.get(one.id) == store.subscriptions.known(one.id) == one

    async def test_an_empty_filter_wants_every_task_of_its_owner_and_no_others(self, store: Store) -> None:
        mine, narrow = a_subscription(filter={}), a_subscription(filter={"provider": "modelslab"})
        for one in (mine, narrow, a_subscription(owner="bob"), a_subscription(enabled=False)):
            await store.subscriptions.add(one)
        await finished(store)
        found = await store.deliveries.find(DeliveryQuery(None))
        assert [item.subscription_id for item in found] == [mine.id]

    async def test_subscriptions_are_found_by_owner_or_all(self, store: Store) -> None:
        for owner in ("alice", "bob"):
            await store.subscriptions.add(a_subscription(owner=owner))
        assert [one.owner for one in await store.subscriptions.find("bob")] == ["bob"]
        assert len(await store.subscriptions.find(None)) == 2

    async def test_a_task_right_behind_a_new_subscription_already_goes_to_it(self, store: Store) -> None:
        one = a_subscription(events=("task.queued",))
        await asyncio.gather(store.subscriptions.add(one), added(store))
        assert len(await store.deliveries.find(DeliveryQuery(None, subscription_id=one.id))) == 1

    async def test_a_changed_subscription_tells_the_others_of_its_owner(self, store: Store) -> None:
        one, other = a_subscription(events=EVENT_TYPES), a_subscription(events=EVENT_TYPES)
        await store.subscriptions.add(one)
        await store.subscriptions.add(other)
        off = a_subscription(id=one.id, enabled=False)
        await store.subscriptions.change(one.id, lambda _: (off, "subscription.disabled"))
        [told] = await store.deliveries.find(DeliveryQuery(None))
        assert (told.subscription_id, told.event_type) == (other.id, "subscription.disabled")
        known = store.subscriptions.known(one.id)
        assert known is not None
        assert not known.enabled

    async def test_a_refused_change_of_a_subscription_is_not_remembered_either(self, store: Store) -> None:
        one = a_subscription()
        await store.subscriptions.add(one)

        def broken(item: Subscription) -> Any:
            return a_subscription(id=one.id, enabled=False, created_at="soon"), "subscription.disabled"

        with pytest.raises(TypeError):
            await store.subscriptions.change(one.id, broken)
        assert await store.subscriptions.get(one.id) == store.subscriptions.known(one.id) == one

    async def test_a_removed_subscription_is_gone_at_once(self, store: Store) -> None:
        one = a_subscription()
        await store.subscriptions.add(one)
        assert await store.subscriptions.remove(one.id)
        assert not await store.subscriptions.remove(one.id)
        assert store.subscriptions.known(one.id) is await store.subscriptions.get(one.id) is None
        await finished(store)
        assert await store.deliveries.find(DeliveryQuery(None)) == []

    # --- deliveries ---

    async def test_many_workers_never_get_the_same_delivery(self, store: Store) -> None:
        lane, _ = await deliveries(store, 20)
        claims = await asyncio.gather(*(store.deliveries.claim(lane.id, NOW, 3, LEASE) for _ in range(8)))
        numbers = [item.n for claim in claims for item in claim]
        assert len(numbers) == len(set(numbers)) == 20

    async def test_a_claim_brings_the_event_in_the_order_of_the_first_attempts(self, store: Store) -> None:
        lane, made = await deliveries(store, 3)
        await store.deliveries.record(failed_attempt(made[0], NOW + 50))
        claimed = await store.deliveries.claim(lane.id, NOW + 100, 10, LEASE)
        assert [item.n for item in claimed] == [made[1].n, made[2].n, made[0].n]
        bodies = {event.id: event.body for event in await events(store)}
        assert all(item.body == bodies[item.event_id] for item in claimed)

    async def test_a_lease_ends_with_its_time_or_with_the_record(self, store: Store) -> None:
        lane, [made] = await deliveries(store)
        assert len(await store.deliveries.claim(lane.id, NOW, 1, LEASE)) == 1
        assert await store.deliveries.claim(lane.id, NOW + LEASE - 1, 1, LEASE) == []
        [again] = await store.deliveries.claim(lane.id, NOW + LEASE, 1, LEASE)
        await store.deliveries.record(failed_attempt(again, NOW + LEASE))
        assert [item.n for item in await store.deliveries.claim(lane.id, NOW + LEASE, 1, LEASE)] == [made.n]

    async def test_outcomes_of_one_moment_are_all_there_and_seen_by_a_claim(self, store: Store) -> None:
        lane, made = await deliveries(store, 5)
        assert len(await store.deliveries.claim(lane.id, NOW, 5, LEASE)) == 5
        *_, claimed = await asyncio.gather(
            *(store.deliveries.record(failed_attempt(item, NOW + 7)) for item in made),
            store.deliveries.claim(lane.id, NOW + 7, 5, LEASE),
        )
        assert [item.n for item in claimed] == [item.n for item in made]
        found = await store.deliveries.find(DeliveryQuery(None, subscription_id=lane.id))
        assert [(item.tries, len(item.attempts)) for item in found] == [(1, 1)] * 5

    async def test_a_delivery_is_claimed_when_it_is_due_and_next_due_says_when(self, store: Store) -> None:
        lane, [made] = await deliveries(store)
        await store.deliveries.record(failed_attempt(made, NOW + 900))
        assert await store.deliveries.next_due(lane.id) == NOW + 900
        assert await store.deliveries.claim(lane.id, NOW + 899, 1, LEASE) == []
        assert len(await store.deliveries.claim(lane.id, NOW + 900, 1, LEASE)) == 1
        assert await store.deliveries.next_due(lane.id) is None

    async def test_what_is_delivered_or_dead_waits_no_more(self, store: Store) -> None:
        lane, [one, two] = await deliveries(store, 2)
        await store.deliveries.record(one.after(Attempt(NOW, 204, None, 12), None))
        assert await store.deliveries.lanes() == [lane.id]
        await store.deliveries.record(failed_attempt(two, None))
        assert await store.deliveries.lanes() == []
        found = await store.deliveries.find(DeliveryQuery(None))
        assert [item.status.value for item in found] == ["dead", "delivered"]
        assert found[0].attempts[0]["status_code"] == 500

    async def test_lanes_are_named_once_however_much_waits_in_them(self, store: Store) -> None:
        lanes = {(await deliveries(store, 2))[0].id for _ in range(3)}
        assert sorted(await store.deliveries.lanes()) == sorted(lanes)

    async def test_a_retry_is_due_now_with_a_fresh_count_and_its_history(self, store: Store) -> None:
        lane, [made] = await deliveries(store)
        await store.deliveries.record(failed_attempt(failed_attempt(made, NOW), None))
        again = await store.deliveries.retry(made.n, NOW + 5)
        assert again is not None
        assert (again.status, again.tries, len(again.attempts)) == (DeliveryStatus.PENDING, 0, 2)
        assert await store.deliveries.claim(lane.id, NOW + 4, 1, LEASE) == []
        [claimed] = await store.deliveries.claim(lane.id, NOW + 5, 1, LEASE)
        assert failed_attempt(claimed, NOW + 9).status is DeliveryStatus.PENDING
        assert await store.deliveries.retry(99_999, NOW) is None

    async def test_a_retry_does_not_take_a_delivery_out_of_the_hand_that_has_it(self, store: Store) -> None:
        lane, [made] = await deliveries(store)
        await store.deliveries.claim(lane.id, NOW, 1, LEASE)
        await store.deliveries.retry(made.n, NOW)
        assert await store.deliveries.claim(lane.id, NOW, 1, LEASE) == []

    async def test_a_replay_queues_the_same_events_again(self, store: Store) -> None:
        lane, made = await deliveries(store, 2)
        for item in await store.deliveries.claim(lane.id, NOW, 10, LEASE):
            await store.deliveries.record(item.after(Attempt(NOW, 204, None, 1), None))
        stored = await events(store, types=("task.completed",))
        assert await store.deliveries.replay(lane, stored, NOW) == 2
        again = await store.deliveries.claim(lane.id, NOW, 10, LEASE)
        assert [item.event_id for item in again] == [item.event_id for item in made]
        assert not {item.n for item in again} & {item.n for item in made}

    async def test_a_ping_is_stored_and_in_the_hand_of_who_asked(self, store: Store) -> None:
        one, other = a_subscription(), a_subscription(events=("ping",))
        await store.subscriptions.add(one)
        await store.subscriptions.add(other)
        delivery = await store.deliveries.ping(one, NOW)
        assert [event.type for event in await events(store)] == ["ping"]
        assert (delivery.lane, delivery.event_type) == (one.id, "ping")
        assert await store.deliveries.claim(one.id, NOW, 10, LEASE) == []
        assert len(await store.deliveries.claim(other.id, NOW, 10, LEASE)) == 1

    async def test_deliveries_are_buried_in_steps(self, store: Store) -> None:
        lane, _ = await deliveries(store, 5)
        await deliveries(store, 1)
        steps = [await store.deliveries.bury(lane.id, 2) for _ in range(4)]
        assert steps == [2, 2, 2, 0]
        assert {item.status.value for item in await store.deliveries.find(DeliveryQuery(None))} == {"dead", "pending"}
        assert lane.id not in await store.deliveries.lanes()

    async def test_pages_of_deliveries_join_and_every_term_narrows(self, store: Store) -> None:
        lane, made = await deliveries(store, 5)
        await deliveries(store, 1)
        first = await store.deliveries.find(DeliveryQuery("alice", subscription_id=lane.id, limit=3))
        rest = await store.deliveries.find(
            DeliveryQuery("alice", subscription_id=lane.id, before=first[-1].n, limit=50)
        )
        wanted = [item.n for item in await store.deliveries.find(DeliveryQuery(None, subscription_id=lane.id))]
        assert [item.n for item in first + rest] == wanted
        assert await store.deliveries.find(DeliveryQuery("bob")) == []
        assert await store.deliveries.find(DeliveryQuery(None, status="dead")) == []
        [only] = await store.deliveries.find(DeliveryQuery(None, subscription_id=lane.id, task_id=made[0].task_id))
        assert await store.deliveries.get(only.n) is not None
        assert await store.deliveries.get(99_999) is None

    # --- the audit ---

    async def test_calls_are_found_by_result_and_task_newest_first_in_pages(self, store: Store) -> None:
        for n, result in enumerate(["accepted", "bad_token", "accepted"]):
            await store.calls.note(Call("piapi", f"tsk_{n}", result, 200, "why", "{}"))
        rows = await store.calls.find(None, None, None, 2)
        assert [row["task_id"] for row in rows] == ["tsk_2", "tsk_1"]
        older = await store.calls.find(None, None, rows[-1]["id"], 2)
        assert [row["task_id"] for row in older] == ["tsk_0"]
        assert len(await store.calls.find("accepted", None, None, 9)) == 2
        assert len(await store.calls.find("accepted", "tsk_0", None, 9)) == 1

    # --- tidying ---

    async def test_old_finished_tasks_go_with_all_that_belongs_to_them(self, store: Store) -> None:
        for made in (await deliveries(store, 2))[1]:
            await store.deliveries.record(made.after(Attempt(NOW, 204, None, 12), None))
        open_one = await added(store)
        young = await finished(store, NOW + DAY)
        await tidied(store)
        assert {task.id for task in await store.tasks.find(TaskQuery(None))} == {open_one.id, young.id}
        left = {event.task_id for event in await events(store)}
        assert left == {open_one.id, young.id}
        assert {item.task_id for item in await store.deliveries.find(DeliveryQuery(None))} == {young.id}

    async def test_old_tasks_are_no_longer_found_by_anything(self, store: Store) -> None:
        old, young = [await finished(store, now, metadata={"order": "A-17"}) for now in (NOW, NOW + DAY)]
        await tidied(store)
        for query in ({"metadata": {"order": "A-17"}}, {"provider": "piapi"}, {"model": old.model}):
            assert await store.tasks.find(TaskQuery("alice", **query)) == [young]

    async def test_what_is_still_to_be_delivered_keeps_its_task(self, store: Store) -> None:
        subscription, [made] = await deliveries(store)
        await store.subscriptions.change(subscription.id, lambda item: (replace(item, events=("ping",)), None))
        behind = await finished(store)
        await tidied(store)
        assert await store.tasks.get(behind.id) is None
        assert [item.n for item in await store.deliveries.find(DeliveryQuery(None))] == [made.n]
        await store.subscriptions.change(subscription.id, lambda item: (replace(item, enabled=False), None))
        await tidied(store)
        assert await store.deliveries.find(DeliveryQuery(None)) == []

    async def test_an_event_that_was_removed_meanwhile_is_not_replayed(self, store: Store) -> None:
        subscription = a_subscription()
        await store.subscriptions.add(subscription)
        task = await finished(store, callback_url=None)
        told = await events(store, task_id=task.id)
        for made in await store.deliveries.find(DeliveryQuery(None)):
            await store.deliveries.record(made.after(Attempt(NOW, 204, None, 12), None))
        await tidied(store)
        assert await store.deliveries.replay(subscription, told, NOW) == 0
        assert await store.deliveries.lanes() == []

    async def test_tidying_goes_in_steps(self, store: Store) -> None:
        for _ in range(5):
            await finished(store)
        last = await store.remove_tasks(NOW + 1, "", 2)
        assert len(await store.tasks.find(TaskQuery(None))) == 3
        assert last is not None
        await store.remove_tasks(NOW + 1, last, 2)
        assert len(await store.tasks.find(TaskQuery(None))) == 1

    async def test_an_old_key_is_forgotten_and_its_task_stays(self, store: Store) -> None:
        key = Idempotency("k", b"body")
        first, _ = await store.tasks.add(a_task(), key)
        assert await store.remove_leftovers(0, NOW + 1, 10) == 1
        again, replayed = await store.tasks.add(a_task(), key)
        assert not replayed
        assert {first.id, again.id} == {task.id for task in await store.tasks.find(TaskQuery(None))}

    async def test_a_key_outlives_its_removed_task_without_harm(self, store: Store) -> None:
        key = Idempotency("k", b"body")
        first, _ = await store.tasks.add(a_task(), key)
        await store.tasks.change(Point.CALLBACK, first.id, to(S.COMPLETED))
        await tidied(store)
        _, replayed = await store.tasks.add(a_task(), key)
        assert not replayed

    async def test_events_without_a_task_go_too(self, store: Store) -> None:
        one = a_subscription()
        await store.subscriptions.add(one)
        await store.deliveries.ping(one, NOW)
        await tidied(store)
        assert await events(store) == []
        assert await store.deliveries.find(DeliveryQuery(None)) == []

    # --- after a crash ---

    async def test_all_that_was_acknowledged_is_there_after_a_crash(
        self, store: Store, after_a_crash: AfterACrash
    ) -> None:
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

    async def test_leases_of_a_dead_process_are_void(self, store: Store, after_a_crash: AfterACrash) -> None:
        lane, made = await deliveries(store, 2)
        await store.deliveries.claim(lane.id, NOW, 10, LEASE)
        again = await after_a_crash()
        claimed = await again.deliveries.claim(lane.id, NOW, 10, LEASE)
        assert [item.n for item in claimed] == [item.n for item in made]

    async def test_what_was_being_sent_is_perhaps_sent_after_a_crash(
        self, store: Store, after_a_crash: AfterACrash
    ) -> None:
        task = await sent(store)
        again = await after_a_crash()
        assert [item.id for item in await again.tasks.perhaps_sent()] == [task.id]
        assert await again.tasks.claim_queued("piapi", "alice", 10, NOW) == []

    async def test_seqs_go_on_after_a_crash(self, store: Store, after_a_crash: AfterACrash) -> None:
        await finished(store)
        last = await store.events.last_seq()
        again = await after_a_crash()
        await added(again)
        assert await again.events.last_seq() == last + 1

    async def test_the_store_says_that_it_is_well(self, store: Store) -> None:
        await store.ping()
