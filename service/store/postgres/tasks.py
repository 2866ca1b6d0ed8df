"""Tasks on PostgreSQL: a move, its events and their deliveries are one transaction."""

from asyncio import Future
from collections.abc import Iterable
from contextlib import aclosing

from asyncpg import Record
from msgspec.structs import replace

from service.core.copies import new_copies
from service.core.event import FINISHING_EVENTS
from service.core.outbox import announcements
from service.core.points import Point
from service.core.task import Task
from service.core.transitions import Decide
from service.ports.callbacks import ReceivedCallback
from service.ports.queries import Idempotency, Rows, TaskQuery
from service.store.postgres.batch import PostgresBatch
from service.store.postgres.callbacks import callback_row
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.job import Change, Job
from service.store.postgres.metadata import agrees, is_long
from service.store.postgres.rows import decode_task
from service.store.postgres.task_search import search
from service.store.postgres.writer import PostgresWriter
from service.store.refusals import key_reused


class PostgresTasks:
    def __init__(self, database: PostgresDatabase, writer: PostgresWriter) -> None:
        self.database = database
        self.writer = writer

    async def add(self, task: Task, idempotency: Idempotency | None) -> tuple[Task, bool]:
        def work(batch: PostgresBatch) -> Change[tuple[Task, bool]]:
            first = batch.first_with(task, idempotency) if idempotency is not None else None
            if first is not None:
                return Change((first, True))
            return Change((task, False), added=task, announcements=announcements([(task, "task.queued")]))

        key = None if idempotency is None else (task.owner, idempotency, task.id, task.created_at)
        return await self.writer.do(Job(Point.ADD_TASK, work, key=key))

    def change(
        self, name: Point, task_id: str, decide: Decide, callback: ReceivedCallback | None = None
    ) -> "Future[Task | None]":
        def work(batch: PostgresBatch) -> Change[Task | None]:
            task = batch.task(task_id)
            if task is None:
                return Change(None)
            steps = decide(task)
            noted = None
            if callback is not None:
                noted = callback_row(callback if steps else replace(callback, result="repeated"))
            if not steps:
                return Change(task, callback=noted)
            after = steps[-1][0]
            finished = [one for one, event_type in steps if event_type in FINISHING_EVENTS]
            return Change(
                after,
                moved=after,
                announcements=announcements(steps),
                finished=finished,
                callback=noted,
                copies=new_copies(steps),
            )

        return self.writer.do(Job(name, work, task_id=task_id))

    async def repeated(self, owner: str, idempotency: Idempotency) -> Task | None:
        rows = await self.database.rows(
            "SELECT i.fingerprint, t.state FROM idempotency i JOIN tasks t ON t.id = i.task_id"
            " WHERE i.owner = $1 AND i.key = $2",
            owner,
            idempotency.key,
        )
        if rows and rows[0]["fingerprint"] != idempotency.fingerprint:
            raise key_reused()
        return decode_task(rows[0]["state"]) if rows else None

    async def get(self, task_id: str) -> Task | None:
        rows = await self.database.rows("SELECT state FROM tasks WHERE id = $1", task_id)
        return decode_task(rows[0]["state"]) if rows else None

    async def find(self, query: TaskQuery) -> Rows[Task]:
        # Only the beginning of long text is indexed, so the rest is compared here.
        exact = any(is_long(*term) for term in query.metadata.items())
        sql, values = search(query, None if exact else query.limit + 1)
        found, size = Rows[Task](), 0
        async with aclosing(self.database.pages(sql, *values)) as rows:
            async for row in rows:
                task = decode_task(row["state"])
                if exact and not agrees(task, query.metadata):
                    continue
                if is_full(query.limit, query.max_bytes, len(found), size):
                    found.more = True
                    break
                found.append(task)
                size += len(row["state"])
        return found


def is_full(limit: int, max_bytes: int | None, count: int, size: int) -> bool:
    return count == limit or (max_bytes is not None and size > max_bytes)


def tasks_of(rows: Iterable[Record]) -> list[Task]:
    return [decode_task(row["state"]) for row in rows]
