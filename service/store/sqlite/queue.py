"""Deliveries as claimed work on SQLite: the rows are the queue, and `worker` is the claim."""

from asyncio import Future
from collections.abc import Sequence

from msgspec.structs import replace

from service.core.delivery import Delivery
from service.core.points import Point
from service.store.sqlite.batch import Rows
from service.store.sqlite.database import LANES, SqliteDatabase
from service.store.sqlite.rows import DELIVERY_COLUMNS, delivery_from_row, outcome_to_row
from service.store.sqlite.unreadable import SET_DELIVERY_ASIDE, UnreadableRow
from service.store.sqlite.workers import SqliteWorkers


class SqliteQueue:
    def __init__(self, database: SqliteDatabase, workers: SqliteWorkers) -> None:
        self.database = database
        self.workers = workers
        # Outcomes for the next transaction, until it begins.
        self._gathering: tuple[Rows, Future[None]] | None = None

    async def claim(self, worker: int, lane: str, now: int, limit: int) -> list[Delivery]:
        def work() -> list[Delivery]:
            if not self.workers.has_lease(worker):
                return []
            db = self.database.batch.written()
            # Release what an earlier process had claimed.
            db.execute(
                "UPDATE deliveries SET worker = 0 WHERE status = 'pending' AND lane = ? AND worker > 0 AND worker < ?",
                (lane, self.workers.first),
            )
            rows = db.execute(
                f"SELECT {DELIVERY_COLUMNS}, e.body FROM deliveries d JOIN events e ON e.seq = d.seq"
                " WHERE d.status = 'pending' AND d.lane = ? AND d.worker = 0 AND d.next_attempt_at <= ?"
                " ORDER BY d.next_attempt_at, d.n LIMIT ?",
                (lane, now, limit),
            ).fetchall()
            claimed = []
            for row in rows:
                try:
                    claimed.append(replace(delivery_from_row(row[:-1], row[-1]), worker=worker))
                except UnreadableRow:
                    db.execute(SET_DELIVERY_ASIDE, (row[0],))
            db.executemany("UPDATE deliveries SET worker = ? WHERE n = ?", [(worker, item.n) for item in claimed])
            return claimed

        return await self.database.write(Point.CLAIM_DELIVERIES, work)

    def record(self, delivery: Delivery) -> "Future[None]":
        rows, recorded = self._gathered()
        rows.append(outcome_to_row(delivery))
        return recorded

    def give_back(self, deliveries: Sequence[Delivery]) -> "Future[None]":
        rows, recorded = self._gathered()
        rows.extend(map(outcome_to_row, deliveries))
        return recorded

    def _gathered(self) -> "tuple[Rows, Future[None]]":
        """Outcomes that arrive while a transaction runs are one change of the next."""
        if self._gathering is None or self._gathering[1].done():
            fresh: Rows = []
            self._gathering = fresh, self.database.write(Point.RECORD_ATTEMPT, lambda: self._write(fresh))
        return self._gathering

    def _write(self, rows: Rows) -> None:
        if self._gathering is not None and self._gathering[0] is rows:
            self._gathering = None
        self.database.batch.put_outcomes(rows)

    async def next_due(self, lane: str) -> int | None:
        rows = await self.database.rows(
            "SELECT next_attempt_at FROM deliveries WHERE status = 'pending' AND lane = ? AND worker = 0"
            " ORDER BY next_attempt_at LIMIT 1",
            (lane,),
        )
        return rows[0][0] if rows else None

    async def lanes(self, after: str, limit: int) -> list[str]:
        return [row[0] for row in await self.database.rows(LANES, {"after": after, "limit": limit})]

    async def bury(self, lane: str, limit: int) -> int:
        def work() -> int:
            return (
                self.database.batch.written()
                .execute(
                    "UPDATE deliveries SET status = 'dead', next_attempt_at = NULL WHERE n IN"
                    " (SELECT n FROM deliveries WHERE status = 'pending' AND lane = ? LIMIT ?)",
                    (lane, limit),
                )
                .rowcount
            )

        return await self.database.write(Point.BURY, work)
