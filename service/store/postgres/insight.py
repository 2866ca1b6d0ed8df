"""Counts for the pages, each along an index and over a limited number of rows."""

from collections.abc import Sequence

from service.core.delivery import Delivery, DeliveryStatus
from service.ports.insight import HourCount, ModelTime
from service.ports.queries import DeliveryQuery
from service.store.limits import (
    ABOVE_ALL,
    NEWEST_DEAD,
    NEWEST_DELIVERIES,
    NEWEST_OF_MODEL,
    NEWEST_TASKS,
    TIMES_OF_MODEL,
)
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.delivery_search import STATUSES, delivery_search
from service.store.postgres.rows import delivery_of_row, text

HOUR = 3_600_000
HAS_RECEIVER = "(d.subscription_id IS NULL OR d.subscription_id IN (SELECT id FROM subscriptions))"
NEWEST_ROWS = (
    "SELECT model, status, created_at, finished_at FROM tasks WHERE ($1::text IS NULL OR owner = $1) AND id >= $2"
    f" ORDER BY id DESC LIMIT {NEWEST_TASKS}"
)


class PostgresInsight:
    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database

    async def tasks_by_hour(self, owner: str | None, since: int) -> list[HourCount]:
        rows = await self.database.long_rows(
            f"SELECT created_at / {HOUR} * {HOUR}, status, count(*) FROM ({NEWEST_ROWS}) t GROUP BY 1, 2",
            owner,
            _first_id(since),
        )
        return [HourCount(*row) for row in rows]

    async def times_to_result(self, owner: str | None, since: int) -> list[ModelTime]:
        rows = await self.database.long_rows(
            f"SELECT model, finished_at - created_at FROM ({NEWEST_ROWS}) t WHERE status = 'completed'",
            owner,
            _first_id(since),
        )
        return [ModelTime(*row) for row in rows]

    async def times_of_model(self, owner: str, model: str) -> list[int]:
        rows = await self.database.long_rows(
            "SELECT finished_at - created_at FROM (SELECT status, created_at, finished_at FROM tasks"
            f" WHERE owner = $1 AND model = $2 ORDER BY id DESC LIMIT {NEWEST_OF_MODEL}) t"
            f" WHERE status = 'completed' LIMIT {TIMES_OF_MODEL}",
            owner,
            text(model),
        )
        return [row[0] for row in rows]

    async def deliveries_by_status(self, subscription_ids: Sequence[str], since: int) -> dict[str, dict[str, int]]:
        rows = await self.database.long_rows(
            "SELECT wanted.id, found.status, count(*) FROM unnest($1::text[]) AS wanted(id) CROSS JOIN LATERAL"
            f" (SELECT one.n, one.seq, one.status FROM unnest($3::text[]) AS kind(status) CROSS JOIN LATERAL"
            " (SELECT d.n, d.seq, d.status FROM deliveries d"
            " WHERE (d.subscription_id, d.status, d.n) >= (wanted.id, kind.status, 0)"
            f" AND (d.subscription_id, d.status, d.n) < (wanted.id, kind.status, {ABOVE_ALL})"
            f" ORDER BY d.subscription_id DESC, d.status DESC, d.n DESC LIMIT {NEWEST_DELIVERIES}) one"
            f" ORDER BY one.n DESC LIMIT {NEWEST_DELIVERIES}) found JOIN events e ON e.seq = found.seq"
            " WHERE e.at >= $2 GROUP BY 1, 2",
            list(subscription_ids),
            since,
            STATUSES,
        )
        counts: dict[str, dict[str, int]] = {}
        for name, status, count in rows:
            counts.setdefault(name, {})[status] = count
        return counts

    async def dead_deliveries(self, owner: str | None, limit: int, before: int | None = None) -> list[Delivery]:
        sql, values = delivery_search(DeliveryQuery(owner, status=DeliveryStatus.DEAD, before=before, limit=limit))
        return [delivery_of_row(row) for row in await self.database.long_rows(sql, *values)]

    async def dead_with_a_receiver(self, owner: str | None, limit: int) -> list[Delivery]:
        dead, values = delivery_search(DeliveryQuery(owner, status=DeliveryStatus.DEAD, limit=NEWEST_DEAD))
        values.append(limit)
        sql = f"SELECT * FROM ({dead}) d WHERE {HAS_RECEIVER} ORDER BY d.n DESC LIMIT ${len(values)}"
        return [delivery_of_row(row) for row in await self.database.long_rows(sql, *values)]


def _first_id(since: int) -> str:
    """Ids start with their time of creation, so the ids since then are a range of an index."""
    return f"tsk_{max(since, 0):012x}"
