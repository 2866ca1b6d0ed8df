"""The audit log of callbacks on PostgreSQL."""

from typing import Any

from service.core.points import Point
from service.core.times import now_ms, to_iso
from service.ports.callbacks import ReceivedCallback
from service.store.limits import CALLBACKS_AT_ONCE, KEPT_CALLBACKS
from service.store.postgres.batch import PostgresBatch
from service.store.postgres.connection import Connection
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.job import Change, Job
from service.store.postgres.rows import text
from service.store.postgres.writer import PostgresWriter


def callback_row(callback: ReceivedCallback) -> tuple[Any, ...]:
    detail, body = (None if value is None else text(value) for value in (callback.detail, callback.body))
    return now_ms(), callback.provider, callback.task_id, callback.result, callback.status_code, detail, body


async def remove_callbacks(connection: Connection) -> int:
    """Once a whole step of callbacks is beyond the limit, remove it. Returns how many."""
    row = await connection.fetchrow("SELECT min(n) AS oldest, max(n) AS newest FROM callbacks")
    if row is None or row["oldest"] is None or row["newest"] - row["oldest"] < KEPT_CALLBACKS + CALLBACKS_AT_ONCE:
        return 0
    done = await connection.execute("DELETE FROM callbacks WHERE n < $1", row["oldest"] + CALLBACKS_AT_ONCE)
    return int(done.rpartition(" ")[2])


class PostgresCallbackLog:
    def __init__(self, database: PostgresDatabase, writer: PostgresWriter) -> None:
        self.database = database
        self.writer = writer

    async def add(self, callback: ReceivedCallback) -> None:
        def work(batch: PostgresBatch) -> Change[None]:
            return Change(None, callback=callback_row(callback))

        await self.writer.do(Job(Point.LOG_CALLBACK, work))

    async def find(
        self, result: str | None, task_id: str | None, before: int | None, limit: int
    ) -> list[dict[str, Any]]:
        rows = await self.database.long_rows(
            "SELECT n AS id, at, provider, task_id, result, status_code, detail, body FROM callbacks"
            " WHERE ($1::text IS NULL OR result = $1) AND ($2::text IS NULL OR task_id = $2)"
            " AND ($3::bigint IS NULL OR n < $3) ORDER BY n DESC LIMIT $4",
            result,
            task_id,
            before,
            limit,
        )
        return [{**row, "at": to_iso(row["at"])} for row in rows]
