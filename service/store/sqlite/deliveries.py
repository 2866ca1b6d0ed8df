"""Deliveries on SQLite, for their owners."""

from service.core.delivery import Delivery
from service.core.outbox import delivery_of, numbered, ping_of
from service.core.points import Point
from service.core.subscription import Recipient, Subscription
from service.ports.queries import DeliveryQuery
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.delivery_search import SELECT, delivery_search
from service.store.sqlite.rows import delivery_from_row
from service.store.sqlite.unreadable import readable


class SqliteDeliveries:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def get(self, n: int) -> Delivery | None:
        rows = await self.database.rows(f"{SELECT} FROM deliveries d WHERE d.n = ?", (n,))
        return delivery_from_row(rows[0]) if rows else None

    async def find(self, query: DeliveryQuery) -> list[Delivery]:
        found = delivery_search(query)
        rows = await self.database.page(found.sql, found.values, query.limit, None, slow=found.slow)
        return list(readable(rows, delivery_from_row))

    async def retry(self, n: int, now: int) -> Delivery | None:
        # Claimed ones are left alone, except those that an earlier process had claimed.
        first = self.database.first_worker

        def work() -> Delivery | None:
            db = self.database.batch.written()
            db.execute(
                "UPDATE deliveries SET status = 'pending', tries = 0, next_attempt_at = ?, worker = 0"
                " WHERE n = ? AND worker < ?",
                (now, n, first),
            )
            row = db.execute(f"{SELECT} FROM deliveries d WHERE d.n = ?", (n,)).fetchone()
            return None if row is None else delivery_from_row(row)

        return await self.database.write(Point.RETRY_DELIVERY, work)

    async def ping(self, worker: int, subscription: Subscription, now: int) -> Delivery:
        def work() -> Delivery:
            batch = self.database.batch
            event = numbered(ping_of(subscription, now), batch.next_seq())
            batch.put_event(event)
            recipient = Recipient(subscription.id, subscription.id, subscription.url)
            delivery = delivery_of(batch.next_delivery(), event, recipient, now, worker)
            batch.put_delivery(delivery)
            return delivery

        return await self.database.write(Point.PING_SUBSCRIPTION, work)
