"""Deliveries on SQLite: the row is the queue, a lease says who has it in hand."""

from asyncio import Future
from collections.abc import Sequence
from typing import Any

from service.core.delivery import Delivery
from service.core.event import Event, encode
from service.core.points import Point
from service.core.subscription import Recipient, Subscription
from service.ports import DeliveryQuery
from service.store.sqlite.batch import Rows
from service.store.sqlite.database import LANES, Database
from service.store.sqlite.rows import DELIVERY_COLUMNS, delivery_from_row, outcome_to_row

SELECT = f"SELECT {DELIVERY_COLUMNS}"


class SqliteDeliveries:
    def __init__(self, database: Database) -> None:
        self.database = database
        # Outcomes that will be written together, until their transaction begins.
        self._gathering: tuple[Rows, Future[None]] | None = None

    async def claim(self, lane: str, now: int, limit: int, lease: int) -> list[Delivery]:
        def work() -> list[Delivery]:
            db = self.database.batch.written()
            db.execute(
                "UPDATE deliveries SET lease_until = 0"
                " WHERE status = 'pending' AND lane = ? AND lease_until > 0 AND lease_until <= ?",
                (lane, now),
            )
            rows = db.execute(
                f"{SELECT}, e.body FROM deliveries d JOIN events e ON e.seq = d.seq WHERE d.status = 'pending'"
                " AND d.lane = ? AND d.lease_until = 0 AND d.next_attempt_at <= ?"
                " ORDER BY d.next_attempt_at, d.n LIMIT ?",
                (lane, now, limit),
            ).fetchall()
            db.executemany("UPDATE deliveries SET lease_until = ? WHERE n = ?", [(now + lease, row[0]) for row in rows])
            return [delivery_from_row(row[:-1], row[-1]) for row in rows]

        return await self.database.write(Point.CLAIM_DELIVERIES, work)

    def record(self, delivery: Delivery) -> "Future[None]":
        """Outcomes that come while a transaction runs are one change of the next."""
        if self._gathering is None or self._gathering[1].done():
            fresh: Rows = []
            self._gathering = fresh, self.database.write(Point.RECORD_ATTEMPT, lambda: self._write(fresh))
        rows, recorded = self._gathering
        rows.append(outcome_to_row(delivery))
        return recorded

    def _write(self, rows: Rows) -> None:
        if self._gathering is not None and self._gathering[0] is rows:
            self._gathering = None
        self.database.batch.put_outcomes(rows)

    async def next_due(self, lane: str) -> int | None:
        rows = await self.database.rows(
            "SELECT next_attempt_at FROM deliveries WHERE status = 'pending' AND lane = ? AND lease_until = 0"
            " ORDER BY next_attempt_at LIMIT 1",
            (lane,),
        )
        return rows[0][0] if rows else None

    async def lanes(self) -> list[str]:
        return [row[0] for row in await self.database.rows(LANES)]

    async def get(self, n: int) -> Delivery | None:
        rows = await self.database.rows(f"{SELECT} FROM deliveries d WHERE d.n = ?", (n,))
        return delivery_from_row(rows[0]) if rows else None

    async def find(self, query: DeliveryQuery) -> list[Delivery]:
        terms: list[str] = []
        values: list[Any] = []
        for column in ("owner", "subscription_id", "task_id", "status"):
            wanted = getattr(query, column)
            if wanted is not None:
                terms.append(f"d.{column} = ?")
                values.append(wanted)
        if query.before is not None:
            terms.append("d.n < ?")
            values.append(query.before)
        where = f" WHERE {' AND '.join(terms)}" if terms else ""
        rows = await self.database.rows(
            f"{SELECT} FROM deliveries d{where} ORDER BY d.n DESC LIMIT ?", [*values, query.limit]
        )
        return [delivery_from_row(row) for row in rows]

    async def retry(self, n: int, now: int) -> Delivery | None:
        def work() -> Delivery | None:
            db = self.database.batch.written()
            db.execute(
                "UPDATE deliveries SET status = 'pending', tries = 0, next_attempt_at = ?"
                " WHERE n = ? AND lease_until = 0",
                (now, n),
            )
            row = db.execute(f"{SELECT} FROM deliveries d WHERE d.n = ?", (n,)).fetchone()
            return None if row is None else delivery_from_row(row)

        return await self.database.write(Point.RETRY_DELIVERY, work)

    async def ping(self, subscription: Subscription, now: int) -> Delivery:
        def work() -> Delivery:
            data = encode({"subscription_id": subscription.id})
            event = self.database.tell("ping", subscription.owner, None, data, now, skip=subscription.id)
            recipient = Recipient(subscription.id, subscription.id, subscription.url)
            return self.database.enqueue_in_hand(event, recipient, now)

        return await self.database.write(Point.PING_SUBSCRIPTION, work)

    async def replay(self, subscription: Subscription, events: Sequence[Event], now: int) -> int:
        recipient = [Recipient(subscription.id, subscription.id, subscription.url)]

        def work() -> int:
            # Retention may have removed some since they were read: a delivery without its event waits for ever.
            db = self.database.batch.written()
            left = [e for e in events if db.execute("SELECT 1 FROM events WHERE seq = ?", (e.seq,)).fetchone()]
            for event in left:
                self.database.enqueue(event, recipient, now)
            return len(left)

        return await self.database.write(Point.REPLAY, work)

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
