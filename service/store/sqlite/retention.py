"""Removing old rows from SQLite, a few at a time."""

from service.core.points import Point
from service.store.sqlite.callbacks import remove_callbacks
from service.store.sqlite.copy_rows import remove_copies
from service.store.sqlite.database import SqliteDatabase

# A pending delivery keeps its task, unless its subscription is disabled.
NOTHING_WAITS = (
    "NOT EXISTS (SELECT 1 FROM deliveries d LEFT JOIN subscriptions s ON s.id = d.subscription_id"
    " WHERE d.task_id = tasks.id AND d.status = 'pending' AND (d.subscription_id IS NULL OR s.enabled))"
    # So does a pending copy, unless RESULTS_URL is no longer set and nothing retries it.
    " AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.task_id = tasks.id AND c.status = 'pending'"
    " AND (c.worker > 0 OR c.next_attempt_at >= :before))"
)


class SqliteRetention:
    # Every callback waits for the one writer meanwhile.
    step = 10

    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def remove_tasks(self, before: int, after: str, limit: int) -> str | None:
        """In small steps, since a long delete would block the writer and with it every callback."""

        def work() -> str | None:
            db = self.database.batch.written()
            seen = db.execute(
                f"SELECT id, finished_at < :before AND {NOTHING_WAITS} FROM tasks WHERE id > :after AND id < :until"
                " ORDER BY id LIMIT :limit",
                {"before": before, "after": after, "until": f"tsk_{before:012x}", "limit": limit},
            ).fetchall()
            old = [(task_id,) for task_id, may_go in seen if may_go]
            for table in ("deliveries", "events", "task_metadata"):
                db.executemany(f"DELETE FROM {table} WHERE task_id = ?", old)
            remove_copies(db, [task_id for (task_id,) in old])
            db.executemany("DELETE FROM tasks WHERE id = ?", old)
            return seen[-1][0] if seen else None

        return await self.database.write(Point.TIDY, work)

    async def remove_leftovers(self, before: int, keys_before: int, limit: int) -> int:
        def work() -> int:
            db = self.database.batch.written()
            keys = db.execute(
                "SELECT owner, key FROM idempotency WHERE created_at < ? LIMIT ?", (keys_before, limit)
            ).fetchall()
            db.executemany("DELETE FROM idempotency WHERE owner = ? AND key = ?", keys)
            strays = db.execute(
                "SELECT seq FROM events INDEXED BY events_without_task WHERE task_id IS NULL AND at < ? LIMIT ?",
                (before, limit),
            ).fetchall()
            db.executemany("DELETE FROM deliveries WHERE task_id IS NULL AND seq = ?", strays)
            db.executemany("DELETE FROM events WHERE seq = ?", strays)
            return len(keys) + len(strays) + remove_callbacks(db)

        return await self.database.write(Point.TIDY, work)
