"""Tasks on SQLite: a move, its events and their deliveries are one transaction."""

import dataclasses
from asyncio import Future
from collections.abc import Sequence

from msgspec.structs import replace

from service.core.copies import copies_of
from service.core.event import FINISHING_EVENTS
from service.core.outbox import about_task
from service.core.points import Point
from service.core.task import Task
from service.core.transitions import Decide, Step
from service.ports.callbacks import ReceivedCallback
from service.ports.queries import Idempotency, Rows, TaskQuery
from service.store.refusals import key_reused
from service.store.sqlite.callbacks import write_callback
from service.store.sqlite.copy_rows import add_copies
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.metadata import write_metadata
from service.store.sqlite.rows import task_from_row, task_to_new_row
from service.store.sqlite.task_search import search
from service.store.sqlite.unreadable import readable

SELECT = "SELECT state FROM tasks"


class SqliteTasks:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self.db = database.db

    async def add(self, task: Task, idempotency: Idempotency | None) -> tuple[Task, bool]:
        def work() -> tuple[Task, bool]:
            if idempotency is not None:
                first = self._first_with_key(task.owner, idempotency)
                if first is not None:
                    return first, True
                self.db.execute(
                    "INSERT INTO idempotency (owner, key, fingerprint, task_id, created_at) VALUES (?, ?, ?, ?, ?)",
                    (task.owner, idempotency.key, idempotency.fingerprint, task.id, task.created_at),
                )
            self.db.execute(
                "INSERT INTO tasks (id, owner, provider, model, status, state, created_at, deadline_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                task_to_new_row(task),
            )
            write_metadata(self.db, task)
            self.database.announce(about_task("task.queued", task))
            return task, False

        return await self.database.write(Point.ADD_TASK, work)

    def _first_with_key(self, owner: str, idempotency: Idempotency) -> Task | None:
        row = self.db.execute(
            "SELECT fingerprint, task_id FROM idempotency WHERE owner = ? AND key = ?", (owner, idempotency.key)
        ).fetchone()
        if row is None:
            return None
        if row[0] != idempotency.fingerprint:
            raise key_reused()
        first = self.database.batch.task(row[1])
        if first is None:  # the task was removed after RETENTION_DAYS, and its key with it
            self.db.execute("DELETE FROM idempotency WHERE owner = ? AND key = ?", (owner, idempotency.key))
            return None
        return first[1]

    def change(
        self, name: Point, task_id: str, decide: Decide, callback: ReceivedCallback | None = None
    ) -> "Future[Task | None]":
        def work() -> Task | None:
            found = self.database.batch.task(task_id)
            if found is None:
                return None
            n, task = found
            steps = decide(task)
            if steps:
                task = write_steps(self.database, n, task, steps)
            if callback is not None:
                write_callback(self.database, callback if steps else replace(callback, result="repeated"))
            return task

        return self.database.write(name, work)

    # --- reading ---

    async def repeated(self, owner: str, idempotency: Idempotency) -> Task | None:
        rows = await self.database.rows(
            "SELECT i.fingerprint, t.state FROM idempotency i JOIN tasks t ON t.id = i.task_id"
            " WHERE i.owner = ? AND i.key = ?",
            (owner, idempotency.key),
        )
        if rows and rows[0][0] != idempotency.fingerprint:
            raise key_reused()
        return task_from_row(rows[0][1:]) if rows else None

    async def get(self, task_id: str) -> Task | None:
        rows = await self.database.rows(f"{SELECT} WHERE id = ?", (task_id,))
        return task_from_row(rows[0]) if rows else None

    async def find(self, query: TaskQuery) -> Rows[Task]:
        # One more row than the page has, to see whether there is another page.
        found = search(dataclasses.replace(query, limit=query.limit + 1))
        rows = await self.database.page(found.sql, found.values, query.limit, query.max_bytes, slow=found.may_be_long)
        tasks = Rows(readable(rows, task_from_row))
        tasks.more = rows.more
        return tasks


def write_steps(database: SqliteDatabase, n: int, before: Task, steps: Sequence[Step]) -> Task:
    """Announce each step, queue copies of its result, and write the row once, as the last step leaves it. Returns that
    task."""
    after = steps[-1][0]
    database.batch.put_task(n, before, after)
    for task, event_type in steps:
        if event_type is None:
            continue
        database.announce(about_task(event_type, task))
        if event_type in FINISHING_EVENTS:
            database.batch.finished.append(task)
            if copies := copies_of(task):
                add_copies(database.db, copies)
    return after
