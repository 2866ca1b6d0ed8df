"""Deliver again on request: one delivery, or all dead ones of an owner."""

import asyncio
import time
from collections.abc import Iterable

from service.core.delivery import Delivery, DeliveryStatus
from service.core.errors import Conflict, NotFound
from service.core.times import now_ms
from service.ports.outlets import DeliveryWorker
from service.ports.store import Store

STEP = 200
# Each step is one transaction; what is left after this many seconds waits for the next request.
LONGEST = 10.0


class Redeliverer:
    def __init__(self, store: Store, worker: DeliveryWorker) -> None:
        self.store = store
        self.worker = worker

    async def retry(self, delivery: Delivery) -> Delivery:
        """Make it pending and due now. Raises Conflict when nothing would receive it."""
        if refusal := self._refusal(delivery):
            raise Conflict(refusal)
        again = await self.store.deliveries.retry(delivery.n, now_ms())
        if again is None:
            raise NotFound("There is no such delivery.")
        self.worker.wake(again.lane)
        return again

    def retryable(self, deliveries: Iterable[Delivery]) -> frozenset[str]:
        """The ids of deliveries that can be retried: dead, or waiting for their next attempt."""
        return frozenset(
            item.id
            for item in deliveries
            if (item.status is DeliveryStatus.DEAD or (item.status is DeliveryStatus.PENDING and item.attempts))
            and self._refusal(item) is None
        )

    async def retry_all_dead(self, owner: str | None) -> int:
        """Newest first; deliveries of removed or disabled subscriptions stay dead. Returns how many were queued."""
        until = time.monotonic() + LONGEST
        queued, before = 0, None
        while time.monotonic() < until:
            found = await self.store.insight.dead_deliveries(owner, STEP, before)
            if not found:
                break
            before = found[-1].n
            again = await asyncio.gather(*(self.retry(item) for item in found if self._refusal(item) is None))
            queued += len(again)
        return queued

    def _refusal(self, delivery: Delivery) -> str | None:
        if delivery.subscription_id is None:
            return None
        subscription = self.store.subscriptions.known(delivery.subscription_id)
        if subscription is None:
            return "Its subscription was removed, so there is no receiver."
        return None if subscription.enabled else "Its subscription is disabled: enable it first."
