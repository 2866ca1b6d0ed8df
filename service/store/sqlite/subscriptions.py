"""Subscriptions on SQLite."""

from collections.abc import Callable
from typing import Any

from service.core.outbox import about_subscription
from service.core.points import Point
from service.core.subscription import Subscription
from service.store.refusals import too_many_subscriptions
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.rows import SUBSCRIPTION_COLUMNS, subscription_from_row, subscription_to_row
from service.store.sqlite.unreadable import readable

# Above every id.
TOP = "~"
SELECT = f"SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions"
REPLACE = (
    f"INSERT OR REPLACE INTO subscriptions ({SUBSCRIPTION_COLUMNS}) VALUES"
    f" ({', '.join('?' * len(SUBSCRIPTION_COLUMNS.split(',')))})"
)


class SqliteSubscriptions:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self.db = database.db
        self.known = database.subscriptions.get

    async def add(self, subscription: Subscription, limit: int | None = None) -> None:
        def work() -> None:
            count = "SELECT count(*) FROM subscriptions WHERE owner = ?"
            if limit is not None and self.db.execute(count, (subscription.owner,)).fetchone()[0] >= limit:
                raise too_many_subscriptions(limit)
            self._save(subscription)

        await self.database.write(Point.ADD_SUBSCRIPTION, work)

    def _save(self, subscription: Subscription) -> None:
        self.db.execute(REPLACE, subscription_to_row(subscription))
        self.database.subscriptions.put(subscription)

    async def get(self, subscription_id: str) -> Subscription | None:
        rows = await self.database.rows(f"{SELECT} WHERE id = ?", (subscription_id,))
        return subscription_from_row(rows[0]) if rows else None

    async def find(
        self,
        owner: str | None,
        before: str | None = None,
        limit: int | None = None,
        enabled: bool | None = None,
    ) -> list[Subscription]:
        terms, values = ["id < ?"], list[Any]([TOP if before is None else before])
        if owner is not None:
            terms.append("owner = ?")
            values.append(owner)
        if enabled is not None:
            terms.append("enabled = ?")
            values.append(enabled)
        rows = await self.database.long_rows(
            f"{SELECT} WHERE {' AND '.join(terms)} ORDER BY id DESC LIMIT ?", [*values, -1 if limit is None else limit]
        )
        return list(readable(rows, subscription_from_row))

    async def change(
        self, subscription_id: str, decide: Callable[[Subscription], tuple[Subscription, str | None] | None]
    ) -> Subscription | None:
        def work() -> Subscription | None:
            row = self.db.execute(f"{SELECT} WHERE id = ?", (subscription_id,)).fetchone()
            if row is None:
                return None
            subscription = subscription_from_row(row)
            decision = decide(subscription)
            if decision is None:
                return subscription
            subscription, event_type = decision
            self._save(subscription)
            if event_type is not None:
                self.database.announce(about_subscription(event_type, subscription, subscription.updated_at))
            return subscription

        return await self.database.write(Point.CHANGE_SUBSCRIPTION, work)

    async def remove(self, subscription_id: str) -> bool:
        def work() -> bool:
            removed = self.db.execute("DELETE FROM subscriptions WHERE id = ?", (subscription_id,)).rowcount > 0
            if removed:
                self.db.execute("DELETE FROM replays WHERE subscription_id = ?", (subscription_id,))
                self.database.subscriptions.remove(subscription_id)
            return removed

        return await self.database.write(Point.REMOVE_SUBSCRIPTION, work)
