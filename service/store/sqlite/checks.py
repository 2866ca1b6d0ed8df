"""Tasks to check with their provider, and tasks past their deadline, on SQLite."""

from collections.abc import Sequence

from msgspec.structs import replace

from service.core.points import Point
from service.core.task import Task
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.rows import task_from_row
from service.store.sqlite.task_search import OPEN
from service.store.sqlite.tasks import write_steps
from service.store.sqlite.unreadable import claimable, readable

AT_PROVIDER = f"{OPEN} AND status IN ('unconfirmed', 'submitted', 'processing')"


class SqliteChecks:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def claim(self, provider: str, now: int, until: int, limit: int) -> list[Task]:
        due = (
            f"FROM tasks INDEXED BY tasks_open WHERE {AT_PROVIDER} AND provider = ? AND check_at <= ?"
            " ORDER BY check_at LIMIT ?"
        )
        # Nothing is written when nothing is due.
        if not await self.database.rows(f"SELECT 1 {due}", (provider, now, 1)):
            return []

        def work() -> list[Task]:
            db = self.database.batch.written()
            rows = db.execute(f"SELECT n, state {due}", (provider, now, limit)).fetchall()
            found = list(claimable(db, rows, task_from_row))
            return [write_steps(self.database, n, task, [(replace(task, check_at=until), None)]) for n, task in found]

        return await self.database.write(Point.CLAIM_CHECKS, work)

    async def next_due(self, provider: str) -> int | None:
        return await self._moment(
            f"SELECT check_at FROM tasks WHERE {OPEN} AND provider = ? AND check_at IS NOT NULL"
            " ORDER BY check_at LIMIT 1",
            (provider,),
        )

    async def all_due(self, now: int) -> None:
        def work() -> None:
            self.database.batch.written().execute(
                f"UPDATE tasks INDEXED BY tasks_open SET check_at = ? WHERE {AT_PROVIDER}", (now,)
            )

        await self.database.write(Point.CHECK_ALL, work)

    async def overdue(self, now: int, limit: int) -> list[Task]:
        rows = await self.database.rows(
            "SELECT state FROM tasks WHERE finished_at IS NULL AND deadline_at <= ? ORDER BY deadline_at LIMIT ?",
            (now, limit),
        )
        return list(readable(rows, task_from_row))

    async def next_deadline(self) -> int | None:
        return await self._moment(
            "SELECT deadline_at FROM tasks WHERE finished_at IS NULL ORDER BY deadline_at LIMIT 1", ()
        )

    async def _moment(self, sql: str, values: Sequence[str]) -> int | None:
        rows = await self.database.rows(sql, values)
        return int(rows[0][0]) if rows else None
