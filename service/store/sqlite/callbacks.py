"""The audit of the provider doors: every call, accepted or refused, redacted and bounded in number."""

import sqlite3
from typing import Any

from service.core.points import Point
from service.core.times import now_ms, to_iso
from service.ports.callbacks import ReceivedCallback
from service.store.sqlite.database import SqliteDatabase

KEPT = 20_000
# So many are removed in one step: they are small and lie side by side.
AT_ONCE = 500


def write_callback(database: SqliteDatabase, callback: ReceivedCallback) -> None:
    """Part of the transaction it is called in."""
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
    """`AT_ONCE` of those beyond the newest `KEPT`, when there are so many; how many went."""
    oldest, newest = [db.execute(f"SELECT {end}(n) FROM callbacks").fetchone()[0] or 0 for end in ("min", "max")]
    if newest - oldest < KEPT + AT_ONCE:
        return 0
    return db.execute("DELETE FROM callbacks WHERE n < ?", (oldest + AT_ONCE,)).rowcount


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
