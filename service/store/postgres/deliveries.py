"""Deliveries on PostgreSQL, for their owners."""

from service.core.delivery import Delivery
from service.core.outbox import ping_of
from service.core.points import Point
from service.core.subscription import Recipient, Subscription
from service.ports.queries import DeliveryQuery
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.delivery_search import SELECT, delivery_search
from service.store.postgres.feed import LANE
from service.store.postgres.publish import DirectDelivery, Publisher
from service.store.postgres.rows import delivery_of_row


class PostgresDeliveries:
    def __init__(self, database: PostgresDatabase, publisher: Publisher) -> None:
        self.database = database
        self.publisher = publisher

    async def get(self, n: int) -> Delivery | None:
        rows = await self.database.rows(f"{SELECT} WHERE d.n = $1", n)
        return delivery_of_row(rows[0]) if rows else None

    async def find(self, query: DeliveryQuery) -> list[Delivery]:
        sql, values = delivery_search(query)
        rows = await self.database.long_rows(sql, *values)
        return [delivery_of_row(row) for row in rows]

    async def retry(self, n: int, now: int) -> Delivery | None:
        async with self.publisher.transaction(Point.RETRY_DELIVERY) as (unit, outbox):
            # Claimed ones are left alone.
            await unit.connection.execute(
                "UPDATE deliveries SET status = 'pending', tries = 0, next_attempt_at = $2 WHERE n = $1 AND worker = 0",
                n,
                now,
            )
            row = await unit.connection.fetchrow(f"{SELECT} WHERE d.n = $1", n)
            if row is None:
                return None
            outbox.signals.append((LANE, row["lane"]))
            return delivery_of_row(row)

    async def ping(self, worker: int, subscription: Subscription, now: int) -> Delivery:
        recipient = Recipient(subscription.id, subscription.id, subscription.url)
        async with self.publisher.transaction(Point.PING_SUBSCRIPTION) as (_, outbox):
            outbox.direct.append(DirectDelivery(ping_of(subscription, now), recipient, now, worker))
        [delivery] = outbox.written
        return delivery
