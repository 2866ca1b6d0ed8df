"""Counts for the pages, each along an index and over a limited number of rows."""

from collections.abc import Sequence
from typing import Any

from service.core.delivery import Delivery, DeliveryStatus
from service.ports.insight import HourCount, ModelTime
from service.ports.queries import DeliveryQuery
from service.store.limits import NEWEST_DEAD, NEWEST_DELIVERIES, NEWEST_OF_MODEL, NEWEST_TASKS, TIMES_OF_MODEL
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.delivery_search import delivery_search
from service.store.sqlite.rows import delivery_from_row
from service.store.sqlite.unreadable import readable

HOUR = 3_600_000
HAS_RECEIVER = "(d.subscription_id IS NULL OR d.subscription_id IN (SELECT id FROM subscriptions))"


class SqliteInsight:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def tasks_by_hour(self, owner: str | None, since: int) -> list[HourCount]:
        rows = await self.database.long_rows(
            f"SELECT created_at / {HOUR} * {HOUR}, status, count(*) FROM ({_newest(owner)}) GROUP BY 1, 2",
            _values(owner, since),
        )
        return [HourCount(*row) for row in rows]

    async def times_to_result(self, owner: str | None, since: int) -> list[ModelTime]:
        rows = await self.database.long_rows(
            f"SELECT model, finished_at - created_at FROM ({_newest(owner)}) WHERE status = 'completed'",
            _values(owner, since),
        )
        return [ModelTime(*row) for row in rows]

    async def times_of_model(self, owner: str, model: str) -> list[int]:
        rows = await self.database.long_rows(
            "SELECT finished_at - created_at FROM (SELECT status, created_at, finished_at FROM tasks"
            f" WHERE owner = ? AND model = ? ORDER BY id DESC LIMIT {NEWEST_OF_MODEL})"
            f" WHERE status = 'completed' LIMIT {TIMES_OF_MODEL}",
            (owner, model),
        )
        return [row[0] for row in rows]

    async def deliveries_by_status(self, subscription_ids: Sequence[str], since: int) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for name in subscription_ids:
            rows = await self.database.long_rows(
                "SELECT status, count(*) FROM (SELECT d.status, e.at FROM deliveries d JOIN events e ON e.seq = d.seq"
                " WHERE d.owner = (SELECT owner FROM subscriptions WHERE id = ?1) AND d.subscription_id = ?1"
                f" ORDER BY d.n DESC LIMIT {NEWEST_DELIVERIES})"
                " WHERE at >= ? GROUP BY status",
                (name, since),
            )
            if rows:
                found[name] = dict(rows)
        return found

    async def dead_deliveries(self, owner: str | None, limit: int, before: int | None = None) -> list[Delivery]:
        found = delivery_search(DeliveryQuery(owner, status=DeliveryStatus.DEAD, before=before, limit=limit))
        return list(readable(await self.database.long_rows(found.sql, found.values), delivery_from_row))

    async def dead_with_a_receiver(self, owner: str | None, limit: int) -> list[Delivery]:
        dead = delivery_search(DeliveryQuery(owner, status=DeliveryStatus.DEAD, limit=NEWEST_DEAD))
        sql = f"SELECT * FROM ({dead.sql}) d WHERE {HAS_RECEIVER} LIMIT :found"
        rows = await self.database.long_rows(sql, {**dead.values, "found": limit})
        return list(readable(rows, delivery_from_row))


def _newest(owner: str | None) -> str:
    """Ids start with their time of creation, so the ids since then are a range of an index."""
    of_owner = "owner = :owner AND " if owner is not None else ""
    return (
        f"SELECT model, status, created_at, finished_at FROM tasks WHERE {of_owner}id >= :first"
        f" ORDER BY id DESC LIMIT {NEWEST_TASKS}"
    )


def _values(owner: str | None, since: int) -> dict[str, Any]:
    return {"owner": owner, "first": f"tsk_{max(since, 0):012x}"}
