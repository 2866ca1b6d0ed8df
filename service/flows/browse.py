"""What a caller may see, in pages bounded by rows and bytes; for the API and the web pages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from service.core.caller import Caller
from service.core.delivery import Delivery, delivery_number
from service.core.errors import NotFound, UnknownCursor, ValidationFailed, bad_query
from service.core.event import Event
from service.core.subscription import Subscription
from service.core.task import Task
from service.flows.turns import Turns
from service.ports.queries import DeliveryQuery, EventQuery, TaskQuery
from service.ports.store import Store

T = TypeVar("T")
# Stored bytes in one page: with large tasks a page has fewer rows than requested, and a cursor.
PAGE_BYTES = 1024 * 1024
HIGHEST_ID = 2**53


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """`next_cursor` None: this is the last page."""

    items: Sequence[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    status: str | None = None
    provider: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Browser:
    """Reads for a caller. Objects of other owners are NotFound; an invalid cursor is ValidationFailed."""

    def __init__(self, store: Store, turns: Turns) -> None:
        self.store = store
        self.turns = turns

    async def task(self, caller: Caller, task_id: str) -> Task:
        async with self.turns.take(caller.name):
            task = await self.store.tasks.get(task_id)
        if task is None or not caller.may_see(task.owner):
            raise NotFound("There is no such task.")
        return task

    async def tasks(self, caller: Caller, wanted: TaskFilter, cursor: str | None = None, limit: int = 50) -> Page[Task]:
        """Newest first."""
        if cursor is not None and not re.fullmatch(r"tsk_[0-9a-f]{32}", cursor):
            raise _bad_cursor()
        query = TaskQuery(
            owner=caller.owner,
            status=wanted.status,
            provider=wanted.provider,
            model=wanted.model,
            metadata=wanted.metadata,
            before=cursor,
            limit=limit,
            max_bytes=PAGE_BYTES,
        )
        async with self.turns.take(caller.name):
            found = await self.store.tasks.find(query)
        return Page(found, found[-1].id if found.more else None)

    async def events(
        self,
        caller: Caller,
        types: tuple[str, ...] | None = None,
        task_id: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[Event]:
        """Oldest first. Raises UnknownCursor for a seq that this database never gave out."""
        query = EventQuery(caller.owner, after, None, types, task_id, limit, PAGE_BYTES)
        async with self.turns.take(caller.name):
            found = await self.store.events.after(query)
        if not found and after:
            await self.check_seq(after)
        return found

    async def check_seq(self, seq: int) -> None:
        """Raises UnknownCursor."""
        if seq > await self.store.events.last_seq():
            raise UnknownCursor(
                f"The seq {seq} was never given out by this database, which may have been restored from a backup."
                " Start again from 0, or without a cursor."
            )

    async def latest_events(
        self, caller: Caller, types: tuple[str, ...] | None = None, task_id: str | None = None, limit: int = 50
    ) -> list[Event]:
        """Newest first."""
        query = EventQuery(caller.owner, 0, None, types, task_id, limit, PAGE_BYTES)
        async with self.turns.take(caller.name):
            return await self.store.events.latest(query)

    async def subscription(self, caller: Caller, subscription_id: str) -> Subscription:
        found = await self.store.subscriptions.get(subscription_id)
        if found is None or not caller.may_see(found.owner):
            raise NotFound("There is no such subscription.")
        return found

    async def subscriptions(
        self, caller: Caller, cursor: str | None = None, limit: int = 200, *, enabled: bool | None = None
    ) -> Page[Subscription]:
        """Newest first; `enabled` None: both."""
        if cursor is not None and not re.fullmatch(r"sub_[0-9a-f]{32}", cursor):
            raise _bad_cursor()
        async with self.turns.take(caller.name):
            found = await self.store.subscriptions.find(caller.owner, cursor, limit + 1, enabled)
        return _page(found, limit, [item.id for item in found])

    async def delivery(self, caller: Caller, delivery_id: str) -> Delivery:
        n = delivery_number(delivery_id)
        found = await self.store.deliveries.get(n) if n is not None else None
        if found is None or not caller.may_see(found.owner):
            raise NotFound("There is no such delivery.")
        return found

    async def deliveries(
        self,
        caller: Caller,
        subscription_id: str | None = None,
        task_id: str | None = None,
        status: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Delivery]:
        """Newest first."""
        before = delivery_number(cursor) if cursor is not None else None
        if cursor is not None and before is None:
            raise _bad_cursor()
        query = DeliveryQuery(caller.owner, subscription_id, task_id, status, before, limit + 1)
        async with self.turns.take(caller.name):
            found = await self.store.deliveries.find(query)
        return _page(found, limit, [item.id for item in found])

    async def callbacks(
        self,
        caller: Caller,
        result: str | None = None,
        task_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[dict[str, Any]]:
        """Newest first. Only an admin sees those of all tasks; an owner names a task of its own."""
        if not caller.admin:
            await self.task(caller, task_id or "")
        before = None
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit()) or len(cursor) > 19 or int(cursor) > HIGHEST_ID:
                raise _bad_cursor()
            before = int(cursor)
        async with self.turns.take(caller.name):
            found = await self.store.callbacks.find(result, task_id, before, limit + 1)
        return _page(found, limit, [str(row["id"]) for row in found])


def _page(found: list[T], limit: int, cursors: list[str]) -> Page[T]:
    items = found[:limit]
    return Page(items, cursors[len(items) - 1] if len(found) > limit else None)


def _bad_cursor() -> ValidationFailed:
    return bad_query("cursor", "must be the next_cursor of an earlier page")
