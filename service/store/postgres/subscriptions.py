"""Subscriptions on PostgreSQL. Every process has all of them in memory, and is notified of changes."""

from collections.abc import Callable
from typing import Any

from service.core.outbox import about_subscription
from service.core.points import Point
from service.core.subscription import Subscription
from service.store.postgres.connection import Unit
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.feed import SUBSCRIPTION, ChangeFeed
from service.store.postgres.publish import Outbox, Publisher
from service.store.postgres.rows import decode_subscription, encode_subscription, subscription_rows
from service.store.refusals import too_many_subscriptions

# Above every id.
TOP = "~"
SAVE = (
    "INSERT INTO subscriptions (id, owner, enabled, state) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (id) DO UPDATE SET enabled = excluded.enabled, state = excluded.state"
)


class PostgresSubscriptions:
    def __init__(self, database: PostgresDatabase, publisher: Publisher) -> None:
        self.database = database
        self.publisher = publisher
        self.feed: ChangeFeed = publisher.feed
        self.known = self.feed.subscriptions.get

    async def add(self, subscription: Subscription, limit: int | None = None) -> None:
        owner = subscription.owner
        async with self.publisher.transaction(Point.ADD_SUBSCRIPTION) as (unit, outbox):
            if limit is not None:
                # One at a time for each owner, or two at once would both get the last free one.
                await unit.connection.execute(
                    "SELECT pg_advisory_xact_lock(hashtext('subscriptions of ' || $1))", owner
                )
                count = "SELECT count(*) FROM subscriptions WHERE owner = $1"
                if await unit.connection.fetchval(count, owner) >= limit:
                    raise too_many_subscriptions(limit)
            await self._save(unit, outbox, subscription)

    async def _save(self, unit: Unit, outbox: Outbox, item: Subscription) -> None:
        await unit.connection.execute(SAVE, item.id, item.owner, item.enabled, encode_subscription(item))
        outbox.signals.append((SUBSCRIPTION, item.id))
        outbox.then = lambda: self._remember(item.id, item)

    def _remember(self, subscription_id: str, item: Subscription | None) -> None:
        if item is None:
            self.feed.subscriptions.remove(subscription_id)
        else:
            self.feed.subscriptions.put(item)
        self.feed.subscriptions.committed()

    async def get(self, subscription_id: str) -> Subscription | None:
        rows = await self.database.rows("SELECT state FROM subscriptions WHERE id = $1", subscription_id)
        return decode_subscription(rows[0]["state"]) if rows else None

    async def find(
        self,
        owner: str | None,
        before: str | None = None,
        limit: int | None = None,
        enabled: bool | None = None,
    ) -> list[Subscription]:
        terms, values = ["id < $2"], list[Any]([limit, TOP if before is None else before])
        if owner is not None:
            values.append(owner)
            terms.append(f"owner = ${len(values)}")
        if enabled is not None:
            values.append(enabled)
            terms.append(f"enabled = ${len(values)}")
        sql = f"SELECT state FROM subscriptions WHERE {' AND '.join(terms)} ORDER BY id DESC LIMIT $1"
        return subscription_rows(await self.database.long_rows(sql, *values))

    async def change(
        self, subscription_id: str, decide: Callable[[Subscription], tuple[Subscription, str | None] | None]
    ) -> Subscription | None:
        async with self.publisher.transaction(Point.CHANGE_SUBSCRIPTION) as (unit, outbox):
            state = await unit.connection.fetchval(
                "SELECT state FROM subscriptions WHERE id = $1 FOR UPDATE", subscription_id
            )
            if state is None:
                return None
            subscription = decode_subscription(state)
            decision = decide(subscription)
            if decision is None:
                return subscription
            subscription, event_type = decision
            if event_type is not None:
                outbox.announcements.append(about_subscription(event_type, subscription, subscription.updated_at))
            await self._save(unit, outbox, subscription)
            return subscription

    async def remove(self, subscription_id: str) -> bool:
        async with self.publisher.transaction(Point.REMOVE_SUBSCRIPTION) as (unit, outbox):
            done = await unit.connection.execute("DELETE FROM subscriptions WHERE id = $1", subscription_id)
            if done == "DELETE 0":
                return False
            await unit.connection.execute("DELETE FROM replays WHERE subscription_id = $1", subscription_id)
            outbox.signals.append((SUBSCRIPTION, subscription_id))
            outbox.then = lambda: self._remember(subscription_id, None)
            return True
