"""Deliveries as claimed work on PostgreSQL: the rows are the queue, and `worker` is the claim."""

from asyncio import Future
from collections.abc import Sequence
from typing import Any

from service.core.delivery import Delivery
from service.core.points import Point
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.job import Change, Job
from service.store.postgres.rows import DELIVERY_COLUMNS, delivery_of_row, outcome_row
from service.store.postgres.workers import hold_lease
from service.store.postgres.writer import PostgresWriter

CLAIM = (
    "WITH due AS (SELECT n FROM deliveries WHERE lane = $2 AND status = 'pending' AND worker = 0"
    " AND next_attempt_at <= $3 ORDER BY next_attempt_at, n LIMIT $4 FOR UPDATE SKIP LOCKED),"
    " d AS (UPDATE deliveries SET worker = $1 FROM due WHERE deliveries.n = due.n RETURNING deliveries.*)"
    f" SELECT {DELIVERY_COLUMNS}, e.body FROM d JOIN events e ON e.seq = d.seq ORDER BY d.next_attempt_at, d.n"
)
# One step in the index for each lane: a million rows of one lane cost nothing here.
LANES = (
    "WITH RECURSIVE found(lane) AS ((SELECT lane FROM deliveries WHERE {pending} AND lane > $1 ORDER BY lane LIMIT 1)"
    " UNION ALL SELECT (SELECT lane FROM deliveries WHERE {pending} AND lane > found.lane ORDER BY lane LIMIT 1)"
    " FROM found WHERE found.lane IS NOT NULL) SELECT lane FROM found WHERE lane IS NOT NULL LIMIT $2"
)


class PostgresQueue:
    def __init__(self, database: PostgresDatabase, writer: PostgresWriter) -> None:
        self.database = database
        self.writer = writer
        # Outcomes for the next transaction, until it begins.
        self._gathering: tuple[list[tuple[Any, ...]], Future[None]] | None = None

    async def claim(self, worker: int, lane: str, now: int, limit: int) -> list[Delivery]:
        # If a crash of the server undoes this, an attempt may be made twice, which is allowed anyway.
        async with self.database.transaction(Point.CLAIM_DELIVERIES, durable=False) as unit:
            if not await hold_lease(unit, worker):
                return []
            rows = await unit.connection.fetch(CLAIM, worker, lane, now, limit)
        return [delivery_of_row(row, row["body"]) for row in rows]

    def record(self, delivery: Delivery) -> "Future[None]":
        return self._gather([delivery])

    def give_back(self, deliveries: Sequence[Delivery]) -> "Future[None]":
        return self._gather(deliveries)

    def _gather(self, deliveries: Sequence[Delivery]) -> "Future[None]":
        """Outcomes that arrive while a transaction runs are one change of the next."""
        if self._gathering is None or self._gathering[1].done():
            fresh: list[tuple[Any, ...]] = []
            self._gathering = fresh, self.writer.do(Job(Point.RECORD_ATTEMPT, lambda _: self._written(fresh)))
        rows, recorded = self._gathering
        rows.extend(map(outcome_row, deliveries))
        return recorded

    def _written(self, rows: list[tuple[Any, ...]]) -> Change[None]:
        if self._gathering is not None and self._gathering[0] is rows:
            self._gathering = None
        return Change(None, outcomes=rows)

    async def next_due(self, lane: str) -> int | None:
        rows = await self.database.rows(
            "SELECT next_attempt_at FROM deliveries WHERE status = 'pending' AND lane = $1 AND worker = 0"
            " ORDER BY next_attempt_at LIMIT 1",
            lane,
        )
        return rows[0][0] if rows else None

    async def lanes(self, after: str, limit: int) -> list[str]:
        free, in_hand = [
            await self.database.rows(LANES.format(pending=pending), after, limit)
            for pending in ("status = 'pending' AND worker = 0", "status = 'pending' AND worker > 0")
        ]
        return sorted({row["lane"] for row in (*free, *in_hand)})[:limit]

    async def bury(self, lane: str, limit: int) -> int:
        rows = await self.database.write(
            Point.BURY,
            "UPDATE deliveries SET status = 'dead', next_attempt_at = NULL WHERE n IN (SELECT n FROM deliveries"
            " WHERE lane = $1 AND status = 'pending' AND worker = 0 UNION ALL SELECT n FROM deliveries"
            " WHERE lane = $1 AND status = 'pending' AND worker > 0 LIMIT $2) RETURNING n",
            lane,
            limit,
        )
        return len(rows)
