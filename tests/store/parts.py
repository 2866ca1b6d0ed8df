"""What the tests of the store are made of."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from service.core.delivery import Attempt, Delivery
from service.core.errors import Conflict
from service.core.event import Event
from service.core.ids import new_id
from service.core.points import Point
from service.core.subscription import Subscription
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import Decide, Decision, announced, claimed
from service.ports.queries import DeliveryQuery, EventQuery, TaskQuery
from service.ports.store import Store

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
        "updated_at": created_at,
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
    return lambda task: announced(task, task.moved(status, now, **changes))


def refuse(task: Task) -> Decision:
    raise Conflict("no")


async def added(store: Store, **changes: Any) -> Task:
    task, _ = await store.tasks.add(a_task(**changes), None)
    return task


async def sent(store: Store, **changes: Any) -> Task:
    """A task that is being sent to its provider."""
    task = await added(store, **changes)
    moved = await store.tasks.change(Point.CLAIM_TASK, task.id, lambda task: ((claimed(task, 1, NOW), None),))
    assert moved is not None
    return moved


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
        after = await store.retention.remove_tasks(before, after, 1)
    while await store.retention.remove_leftovers(before, 0, 1):
        pass
