"""Counts for the pages, each down an index and no further than `NEWEST` rows."""

from collections.abc import Sequence

from service.core.delivery import Delivery
from service.ports.insight import HourCount, ModelTime
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.rows import DELIVERY_COLUMNS, delivery_of_row, text

NEWEST = 20_000
HOUR = 3_600_000
# Of one subscription; and tasks of one model, completed or not.
NEWEST_DELIVERIES = 1000
NEWEST_OF_MODEL = 500
OF_MODEL = 100
NO_BOUND = 2**63 - 1
NEWEST_TASKS = (
    "SELECT model, status, created_at, finished_at FROM tasks WHERE ($1::text IS NULL OR owner = $1) AND id >= $2"
    f" ORDER BY id DESC LIMIT {NEWEST}"
)


class PostgresInsight:
    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database

    async def tasks_by_hour(self, owner: str | None, since: int) -> list[HourCount]:
        rows = await self.database.long_rows(
            f"SELECT created_at / {HOUR} * {HOUR}, status, count(*) FROM ({NEWEST_TASKS}) t GROUP BY 1, 2",
            owner,
            _first_id(since),
        )
        return [HourCount(*row) for row in rows]

    async def times_to_result(self, owner: str | None, since: int) -> list[ModelTime]:
        rows = await self.database.long_rows(
            f"SELECT model, finished_at - created_at FROM ({NEWEST_TASKS}) t WHERE status = 'completed'",
            owner,
            _first_id(since),
        )
        return [ModelTime(*row) for row in rows]

    async def times_of_model(self, owner: str, model: str) -> list[int]:
        rows = await self.database.long_rows(
            "SELECT finished_at - created_at FROM (SELECT status, created_at, finished_at FROM tasks"
            f" WHERE owner = $1 AND model = $2 ORDER BY id DESC LIMIT {NEWEST_OF_MODEL}) t"
            f" WHERE status = 'completed' LIMIT {OF_MODEL}",
            owner,
            text(model),
        )
        return [row[0] for row in rows]

    async def deliveries_by_status(self, subscription_ids: Sequence[str], since: int) -> dict[str, dict[str, int]]:
        rows = await self.database.long_rows(
            "SELECT wanted.id, found.status, count(*) FROM unnest($1::text[]) AS wanted(id) CROSS JOIN LATERAL"
            " (SELECT d.status, e.at FROM deliveries d JOIN events e ON e.seq = d.seq"
            f" WHERE d.subscription_id = wanted.id ORDER BY d.n DESC LIMIT {NEWEST_DELIVERIES}) found"
            " WHERE found.at >= $2 GROUP BY 1, 2",
            list(subscription_ids),
            since,
        )
        counts: dict[str, dict[str, int]] = {}
        for name, status, count in rows:
            counts.setdefault(name, {})[status] = count
        return counts

    async def dead_deliveries(self, owner: str | None, limit: int, before: int | None = None) -> list[Delivery]:
        rows = await self.database.long_rows(
            f"SELECT {DELIVERY_COLUMNS} FROM deliveries d WHERE d.status = 'dead' AND d.n < $1"
            f"{' AND d.owner = $3' if owner is not None else ''} ORDER BY d.n DESC LIMIT $2",
            NO_BOUND if before is None else before,
            limit,
            *([] if owner is None else [owner]),
        )
        return [delivery_of_row(row) for row in rows]


def _first_id(since: int) -> str:
    """Ids begin with the moment they were made, so those since a moment are a range of an index."""
    return f"tsk_{max(since, 0):012x}"
