"""Tasks to check with their provider, and tasks past their deadline, on PostgreSQL."""

from msgspec.structs import replace

from service.core.points import Point
from service.core.task import Task
from service.store.postgres.batch import CHANGE_TASKS
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.rows import changed_task, columns, decode_task
from service.store.postgres.task_search import OPEN
from service.store.postgres.tasks import tasks_of

AT_PROVIDER = f"{OPEN} AND status IN ('unconfirmed', 'submitted', 'processing')"


class PostgresChecks:
    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database

    async def claim(self, provider: str, now: int, until: int, limit: int) -> list[Task]:
        # If a crash of the server undoes this, a task is checked twice.
        async with self.database.transaction(Point.CLAIM_CHECKS, durable=False) as unit:
            rows = await unit.connection.fetch(
                f"SELECT state FROM tasks WHERE {AT_PROVIDER} AND provider = $1 AND check_at <= $2"
                " ORDER BY check_at LIMIT $3 FOR UPDATE SKIP LOCKED",
                provider,
                now,
                limit,
            )
            tasks = [replace(decode_task(row["state"]), check_at=until) for row in rows]
            if tasks:
                await unit.connection.execute(CHANGE_TASKS, *columns([changed_task(task) for task in tasks]))
        return tasks

    async def next_due(self, provider: str) -> int | None:
        rows = await self.database.rows(
            f"SELECT check_at FROM tasks WHERE {OPEN} AND provider = $1 AND check_at IS NOT NULL"
            " ORDER BY check_at LIMIT 1",
            provider,
        )
        return rows[0][0] if rows else None

    async def all_due(self, now: int) -> None:
        await self.database.write(Point.CHECK_ALL, f"UPDATE tasks SET check_at = $1 WHERE {AT_PROVIDER}", now)

    async def overdue(self, now: int, limit: int) -> list[Task]:
        return tasks_of(
            await self.database.rows(
                "SELECT state FROM tasks WHERE finished_at IS NULL AND deadline_at <= $1 ORDER BY deadline_at LIMIT $2",
                now,
                limit,
            )
        )

    async def next_deadline(self) -> int | None:
        rows = await self.database.rows(
            "SELECT deadline_at FROM tasks WHERE finished_at IS NULL ORDER BY deadline_at LIMIT 1"
        )
        return rows[0][0] if rows else None
