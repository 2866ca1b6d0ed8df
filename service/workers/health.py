"""The health of subscriptions: counted in memory, written once a minute; disables those that fail for too long."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.core.delivery import GONE, Attempt
from service.core.errors import Unavailable
from service.core.subscription import Subscription
from service.ports.store import SubscriptionStore
from service.workers.background import Background
from service.workers.delivery_limiter import Standing

log = logging.getLogger("callbridge.deliver")

WRITE_EVERY = 60.0
# Fewer failures do not disable a subscription, however long ago the first one was.
LEAST_FAILURES = 5
Decide = Callable[[Subscription], tuple[Subscription, str | None] | None]
# Receivers known to work; beyond this number the oldest is forgotten, and counts as new again.
REMEMBERED = 20_000


@dataclass(slots=True)
class Failing:
    """Failures in a row; times in milliseconds."""

    since: int
    last: int
    count: int = 0


class SubscriptionHealth:
    def __init__(
        self, subscriptions: SubscriptionStore, disable_after: float, now: Callable[[], int], background: Background
    ) -> None:
        """`disable_after` in seconds."""
        self._background = background
        self._subscriptions = subscriptions
        self._disable_after = disable_after * 1000
        self._now = now
        self._failing: dict[str, Failing] = {}
        self._healthy: dict[str, None] = {}
        # Those whose `failing_since` differs in the store.
        self._unwritten: set[str] = set()

    def standing(self, subscription_id: str) -> Standing:
        if subscription_id in self._healthy:
            return Standing.HEALTHY
        return Standing.FAILING if subscription_id in self._failing else Standing.NEW

    def succeeded(self, subscription_id: str) -> None:
        if subscription_id in self._healthy:
            return
        if len(self._healthy) >= REMEMBERED:
            del self._healthy[next(iter(self._healthy))]
        self._healthy[subscription_id] = None
        known = self._subscriptions.known(subscription_id)
        if self._failing.pop(subscription_id, None) is not None or (known and known.failing_since is not None):
            self._unwritten.add(subscription_id)

    def failed(self, subscription_id: str, attempt: Attempt) -> None:
        """Disables the subscription when the receiver is gone, or has only failed for too long."""
        self._healthy.pop(subscription_id, None)
        subscription = self._subscriptions.known(subscription_id)
        if subscription is None or not subscription.enabled:
            self._failing.pop(subscription_id, None)
            return
        if attempt.status_code == GONE:
            self._disable(subscription_id, "The receiver responded with 410 Gone.")
            return
        failing = self._failing.get(subscription_id)
        now = self._now()
        if failing is None:
            since = now if subscription.failing_since is None else subscription.failing_since
            failing = self._failing[subscription_id] = Failing(since, now)
            self._unwritten.add(subscription_id)
        elif now - failing.last > self._disable_after / 2:
            # Two failures far apart with nothing sent in between are not a long failure.
            failing.since, failing.count = now, 0
            self._unwritten.add(subscription_id)
        failing.last = now
        failing.count += 1
        if failing.count >= LEAST_FAILURES and now - failing.since >= self._disable_after:
            days = self._disable_after / 86_400_000
            self._disable(subscription_id, f"Every delivery failed for {days:g} days.")

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY)
            await self.write()

    async def write(self) -> None:
        """One after the other, so that a thousand failing subscriptions do not delay any request."""
        for subscription_id in list(self._unwritten):
            self._unwritten.discard(subscription_id)
            failing = self._failing.get(subscription_id)
            since = failing.since if failing else None

            def decide(item: Subscription, since: int | None = since) -> tuple[Subscription, str | None] | None:
                return None if item.failing_since == since else (replace(item, failing_since=since), None)

            if not await self._change(subscription_id, decide):
                self._unwritten.add(subscription_id)
                return

    def _disable(self, subscription_id: str, reason: str) -> None:
        failing = self._failing.pop(subscription_id, None)
        self._unwritten.discard(subscription_id)
        now = self._now()

        def decide(item: Subscription) -> tuple[Subscription, str | None] | None:
            if not item.enabled:
                return None
            since = failing.since if failing else item.failing_since
            disabled = replace(item, enabled=False, disabled_reason=reason, failing_since=since, updated_at=now)
            return disabled, "subscription.disabled"

        self._background.spawn(self._disabled(subscription_id, decide))

    async def _disabled(self, subscription_id: str, decide: Decide) -> None:
        await self._change(subscription_id, decide)

    async def _change(self, subscription_id: str, decide: Decide) -> bool:
        try:
            await self._subscriptions.change(subscription_id, decide)
        except Unavailable as error:
            log.warning("subscription %s: its health is not recorded: %s", subscription_id, error.detail)
            return False
        return True
