"""Removing old rows from PostgreSQL, a few at a time and in one process at a time."""

from service.core.points import Point
from service.core.times import now_ms
from service.store.postgres.callbacks import remove_callbacks
from service.store.postgres.connection import Unit
from service.store.postgres.copies import remove_copies
from service.store.postgres.database import PostgresDatabase

# A pending delivery keeps its task, unless its subscription is disabled.
NOTHING_WAITS = (
    "NOT EXISTS (SELECT 1 FROM deliveries d LEFT JOIN subscriptions s ON s.id = d.subscription_id"
    " WHERE d.task_id = tasks.id AND d.status = 'pending' AND (d.subscription_id IS NULL OR s.enabled))"
    # So does a pending copy, unless RESULTS_URL is no longer set and nothing retries it.
    " AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.task_id = tasks.id AND c.status = 'pending'"
    " AND (c.worker > 0 OR c.next_attempt_at >= $1))"
)
SIGNALS_KEPT_MS = 3_600_000


class PostgresRetention:
    # Each step takes several round trips, during which no other work waits: 10 would limit it to 20 tasks a second.
    step = 100

    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database

    async def remove_tasks(self, before: int, after: str, limit: int) -> str | None:
        async with self.database.transaction(Point.TIDY, durable=False) as unit:
            if not await _our_turn(unit, "tasks"):
                return None
            seen = await unit.connection.fetch(
                f"SELECT id, finished_at < $1 AND {NOTHING_WAITS} AS may_go FROM tasks WHERE id > $2 AND id < $3"
                " ORDER BY id LIMIT $4",
                before,
                after,
                f"tsk_{before:012x}",
                limit,
            )
            old = [row["id"] for row in seen if row["may_go"]]
            if old:
                await remove_copies(unit.connection, old)
                for table, column in (
                    ("deliveries", "task_id"),
                    ("events", "task_id"),
                    ("task_metadata", "task_id"),
                    ("tasks", "id"),
                ):
                    await unit.connection.execute(f"DELETE FROM {table} WHERE {column} = ANY($1)", old)
        return seen[-1]["id"] if seen else None

    async def remove_leftovers(self, before: int, keys_before: int, limit: int) -> int:
        async with self.database.transaction(Point.TIDY, durable=False) as unit:
            if not await _our_turn(unit, "leftovers"):
                return 0
            connection = unit.connection
            keys = await connection.fetch(
                "DELETE FROM idempotency WHERE (owner, key) IN"
                " (SELECT owner, key FROM idempotency WHERE created_at < $1 LIMIT $2) RETURNING 1",
                keys_before,
                limit,
            )
            strays = await connection.fetch(
                "DELETE FROM events WHERE seq IN"
                " (SELECT seq FROM events WHERE task_id IS NULL AND at < $1 LIMIT $2) RETURNING seq",
                before,
                limit,
            )
            await connection.execute(
                "DELETE FROM deliveries WHERE task_id IS NULL AND seq = ANY($1)", [row["seq"] for row in strays]
            )
            signals = await connection.fetch(
                "DELETE FROM signals WHERE n IN (SELECT n FROM signals WHERE at < $1 ORDER BY n LIMIT $2) RETURNING 1",
                now_ms() - SIGNALS_KEPT_MS,
                limit,
            )
            return len(keys) + len(strays) + len(signals) + await remove_callbacks(connection)


async def _our_turn(unit: Unit, part: str) -> bool:
    """False while another process does it."""
    return bool(
        await unit.connection.fetchval(
            "SELECT pg_try_advisory_xact_lock(hashtext('callbridge retention'), hashtext($1))", part
        )
    )
