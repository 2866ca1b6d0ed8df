"""What happens to a subscription besides deliveries: ping, rotation, replay, removal."""

import asyncio
from dataclasses import replace

from service.core.delivery import Delivery
from service.core.subscription import Subscription
from service.core.times import now_ms
from service.ports import DeliveryWorker, EventQuery, Store
from service.wire.signature import new_secret

BOTH_SIGN_MS = 24 * 3600 * 1000
# One signature each: a header has its limits.
MOST_OLD_SECRETS = 10
# Replay goes in steps: a long one must not hold the writer.
STEP = 200


class Subscriber:
    def __init__(self, store: Store, dispatcher: DeliveryWorker) -> None:
        self.store = store
        self.dispatcher = dispatcher

    def wake(self, subscription: Subscription) -> None:
        if subscription.enabled:
            self.dispatcher.wake(subscription.id)

    async def ping(self, subscription: Subscription) -> Delivery:
        """One attempt, now; also to a disabled subscription, since that is how one finds out. Never tried again."""
        delivery = await self.store.deliveries.ping(subscription, now_ms())
        posting = self.dispatcher.post(delivery)
        if posting is None:
            return delivery
        after = delivery.after((await posting).attempt, None)
        await asyncio.shield(self.store.deliveries.record(after))
        return after

    def rotated(self, subscription: Subscription) -> Subscription:
        now = now_ms()
        still_signing = [old for old in subscription.old_secrets if old[1] > now]
        return replace(
            subscription,
            secret=new_secret(),
            old_secrets=((subscription.secret, now + BOTH_SIGN_MS), *still_signing)[:MOST_OLD_SECRETS],
            updated_at=now,
        )

    async def replay(self, subscription: Subscription, after: int, types: tuple[str, ...] | None) -> int:
        """Queue stored events again, as the subscription's own list and filter say; returns how many."""
        wanted = tuple(name for name in subscription.events if types is None or name in types)
        up_to = await self.store.events.last_seq()
        queued = 0
        while wanted and after < up_to:
            page = await self.store.events.after(EventQuery(subscription.owner, after, up_to, wanted, None, STEP))
            if not page:
                break
            after = page[-1].seq
            chosen = [event for event in page if subscription.matches_stored(event)]
            queued += await self.store.deliveries.replay(subscription, chosen, now_ms())
        self.dispatcher.wake(subscription.id)
        self.dispatcher.bury_if_removed(subscription.id)
        return queued

    async def remove(self, subscription: Subscription) -> None:
        await self.store.subscriptions.remove(subscription.id)
        self.dispatcher.bury_if_removed(subscription.id)
