"""Tasks on SQLite: a move, its event and what must be delivered are one transaction."""

import dataclasses
from asyncio import Future
from collections.abc import Sequence

from msgspec.structs import replace

from service.core.errors import IdempotencyMismatch
from service.core.event import FINISHING_EVENTS, encode
from service.core.points import Point
from service.core.task import Task
from service.core.transitions import Decide, Step
from service.ports import Call, Idempotency, Rows, TaskQuery
from service.store.sqlite.calls import write_call
from service.store.sqlite.database import Database
from service.store.sqlite.metadata import write_metadata
from service.store.sqlite.rows import task_from_row, task_to_new_row
from service.store.sqlite.search import OPEN, search

SELECT = "SELECT state FROM tasks"
WAITING = "status = 'queued' AND sent_at IS NULL"


class SqliteTasks:
    def __init__(self, database: Database) -> None:
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
            self.database.tell("task.queued", task.owner, task, encode(task.document()), task.created_at)
            return task, False

        return await self.database.write(Point.ADD_TASK, work)

    def _first_with_key(self, owner: str, idempotency: Idempotency) -> Task | None:
        row = self.db.execute(
            "SELECT fingerprint, task_id FROM idempotency WHERE owner = ? AND key = ?", (owner, idempotency.key)
        ).fetchone()
        if row is None:
            return None
        if row[0] != idempotency.fingerprint:
            raise IdempotencyMismatch("This Idempotency-Key came with another body before; use a new key.")
        first = self.database.batch.task(row[1])
        if first is None:  # the task is older than RETENTION_DAYS: its key goes with it
            self.db.execute("DELETE FROM idempotency WHERE owner = ? AND key = ?", (owner, idempotency.key))
            return None
        return first[1]

    def change(self, name: Point, task_id: str, decide: Decide, call: Call | None = None) -> "Future[Task | None]":
        def work() -> Task | None:
            found = self.database.batch.task(task_id)
            if found is None:
                return None
            n, task = found
            steps = decide(task)
            if steps:
                task = self._write(n, task, steps)
            if call is not None:
                write_call(self.database, call if steps else replace(call, result="repeated"))
            return task

        return self.database.write(name, work)

    async def claim_queued(self, provider: str, owner: str, limit: int, now: int) -> list[Task]:
        def work() -> list[Task]:
            rows = self.database.batch.written().execute(
                f"SELECT n, state FROM tasks WHERE {WAITING} AND provider = ? AND owner = ? ORDER BY id LIMIT ?",
                (provider, owner, limit),
            )
            return [self._claim(n, task_from_row(row), now) for n, *row in rows.fetchall()]

        return await self.database.write(Point.CLAIM_TASK, work)

    def _claim(self, n: int, task: Task, now: int) -> Task:
        claimed = replace(task, sent_at=now, attempts=task.attempts + 1, updated_at=now)
        return self._write(n, task, [(claimed, None)])

    def _write(self, n: int, before: Task, steps: Sequence[Step]) -> Task:
        """Each step's event is told; the row is written once, as the last step leaves it."""
        for task, event_type in steps:
            if event_type is not None:
                self.database.tell(event_type, task.owner, task, encode(task.document()), task.updated_at)
                if event_type in FINISHING_EVENTS:
                    self.database.batch.finished.append(task)
        self.database.batch.put_task(n, before, task)
        return task

    # --- reading ---

    async def get(self, task_id: str) -> Task | None:
        rows = await self.database.rows(f"{SELECT} WHERE id = ?", (task_id,))
        return task_from_row(rows[0]) if rows else None

    async def find(self, query: TaskQuery) -> Rows[Task]:
        # One more than the page, or it could not be told whether it is the last one.
        found = search(dataclasses.replace(query, limit=query.limit + 1))
        rows = await self.database.page(found.sql, found.values, query.limit, query.max_bytes, slow=found.may_be_long)
        tasks = Rows(map(task_from_row, rows))
        tasks.more = rows.more
        return tasks

    async def _tasks(self, where: str, values: Sequence[str | int]) -> list[Task]:
        return [task_from_row(row) for row in await self.database.rows(f"{SELECT} WHERE {where}", values)]

    async def queued_owners(self, provider: str) -> list[str]:
        rows = await self.database.rows(
            "WITH RECURSIVE found(owner) AS ("
            f" SELECT min(owner) FROM tasks WHERE {WAITING} AND provider = ?1 UNION ALL"
            f" SELECT (SELECT min(owner) FROM tasks WHERE {WAITING} AND provider = ?1"
            " AND owner > found.owner) FROM found WHERE found.owner IS NOT NULL)"
            " SELECT owner FROM found WHERE owner IS NOT NULL",
            (provider,),
        )
        return [row[0] for row in rows]

    async def at_provider(self, provider: str, limit: int) -> int:
        # The unconfirmed, few but after an outage, are taken off by number: whether one is would be read in its row.
        rows = await self.database.rows(
            "WITH unconfirmed(many) AS MATERIALIZED"
            " (SELECT count(*) FROM tasks WHERE provider = ?1 AND status = 'unconfirmed')"
            " SELECT (SELECT count(*) FROM (SELECT 1 FROM tasks"
            f" WHERE {OPEN} AND provider = ?1 LIMIT ?2 + (SELECT many FROM unconfirmed)))"
            " - (SELECT many FROM unconfirmed)",
            (provider, limit),
        )
        return int(rows[0][0])

    async def perhaps_sent(self) -> list[Task]:
        # Of itself SQLite would go by deadline, through all that only waits.
        rows = await self.database.rows(f"{SELECT} INDEXED BY tasks_open WHERE {OPEN} AND status = 'queued'")
        return [task_from_row(row) for row in rows]

    async def held(self, providers: Sequence[str]) -> list[Task]:
        marks = ", ".join("?" * len(providers))
        return await self._tasks(
            f"{OPEN} AND provider IN ({marks}) AND status <> 'unconfirmed'",
            providers,
        )

    async def due_checks(self, provider: str, now: int, limit: int) -> list[Task]:
        return await self._tasks(
            f"{OPEN} AND provider = ? AND status IN ('unconfirmed', 'submitted', 'processing') AND check_at <= ?"
            " ORDER BY check_at LIMIT ?",
            (provider, now, limit),
        )

    async def check_all_open(self, now: int) -> None:
        def work() -> None:
            self.database.batch.written().execute(
                f"UPDATE tasks INDEXED BY tasks_open SET check_at = ? WHERE {OPEN}"
                " AND status IN ('unconfirmed', 'submitted', 'processing')",
                (now,),
            )

        await self.database.write(Point.CHECK_ALL, work)

    async def next_check(self, provider: str) -> int | None:
        return await self._moment(
            f"SELECT check_at FROM tasks WHERE {OPEN} AND provider = ? AND check_at IS NOT NULL"
            " ORDER BY check_at LIMIT 1",
            (provider,),
        )

    async def overdue(self, now: int, limit: int) -> list[Task]:
        return await self._tasks("finished_at IS NULL AND deadline_at <= ? ORDER BY deadline_at LIMIT ?", (now, limit))

    async def next_deadline(self) -> int | None:
        return await self._moment(
            "SELECT deadline_at FROM tasks WHERE finished_at IS NULL ORDER BY deadline_at LIMIT 1", ()
        )

    async def _moment(self, sql: str, values: Sequence[str]) -> int | None:
        rows = await self.database.rows(sql, values)
        return int(rows[0][0]) if rows else None
