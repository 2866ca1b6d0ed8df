"""The audit log of callbacks: each one, accepted or refused, redacted and limited in number."""

import sqlite3
from typing import Any

from service.core.points import Point
from service.core.times import now_ms, to_iso
from service.ports.callbacks import ReceivedCallback
from service.store.limits import CALLBACKS_AT_ONCE, KEPT_CALLBACKS
from service.store.sqlite.database import SqliteDatabase


def write_callback(database: SqliteDatabase, callback: ReceivedCallback) -> None:
    """Call it inside a transaction."""
    database.batch.put_callback(
        (
            now_ms(),
            callback.provider,
            callback.task_id,
            callback.result,
            callback.status_code,
            callback.detail,
            callback.body,
        )
    )


def remove_callbacks(db: sqlite3.Connection) -> int:
    """Once a whole step of callbacks is beyond the limit, remove it. Returns how many."""
    oldest, newest = [db.execute(f"SELECT {end}(n) FROM callbacks").fetchone()[0] or 0 for end in ("min", "max")]
    if newest - oldest < KEPT_CALLBACKS + CALLBACKS_AT_ONCE:
        return 0
    return db.execute("DELETE FROM callbacks WHERE n < ?", (oldest + CALLBACKS_AT_ONCE,)).rowcount


class SqliteCallbackLog:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def add(self, callback: ReceivedCallback) -> None:
        await self.database.write(Point.LOG_CALLBACK, lambda: write_callback(self.database, callback))

    async def find(
        self, result: str | None, task_id: str | None, before: int | None, limit: int
    ) -> list[dict[str, Any]]:
        rows = await self.database.long_rows(
            "SELECT n, at, provider, task_id, result, status_code, detail, body FROM callbacks"
            " WHERE (?1 IS NULL OR result = ?1) AND (?2 IS NULL OR task_id = ?2) AND (?3 IS NULL OR n < ?3)"
            " ORDER BY n DESC LIMIT ?4",
            (result, task_id, before, limit),
        )
        names = ("id", "at", "provider", "task_id", "result", "status_code", "detail", "body")
        return [{**dict(zip(names, row, strict=True)), "at": to_iso(row[1])} for row in rows]
