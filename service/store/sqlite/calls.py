"""The audit of the provider doors: every call, accepted or refused, redacted and bounded in number."""

import sqlite3
from typing import Any

from service.core.points import Point
from service.core.times import now_ms, to_iso
from service.ports.store import Call
from service.store.sqlite.database import SqliteDatabase

KEPT = 20_000
# So many are removed in one step: they are small and lie side by side.
AT_ONCE = 500


def write_call(database: SqliteDatabase, call: Call) -> None:
    """Part of the transaction it is called in."""
    database.batch.put_call(
        (now_ms(), call.provider, call.task_id, call.result, call.status_code, call.detail, call.body)
    )


def remove_calls(db: sqlite3.Connection) -> int:
    """`AT_ONCE` of those beyond the newest `KEPT`, when there are so many; how many went."""
    oldest, newest = [db.execute(f"SELECT {end}(n) FROM callbacks").fetchone()[0] or 0 for end in ("min", "max")]
    if newest - oldest < KEPT + AT_ONCE:
        return 0
    return db.execute("DELETE FROM callbacks WHERE n < ?", (oldest + AT_ONCE,)).rowcount


class SqliteCalls:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def note(self, call: Call) -> None:
        await self.database.write(Point.NOTE_CALL, lambda: write_call(self.database, call))

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
