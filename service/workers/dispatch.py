"""The lanes of all receivers: created by name, woken when something may be due, buried when the receiver is gone."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from functools import partial
from urllib.parse import urlsplit

from service.core.delivery import Delivery
from service.core.errors import RateLimited
from service.core.lanes import group_of
from service.core.subscription import LANE_OF_URL
from service.ports.store import Store
from service.workers.attempts import Attempts
from service.workers.background import Background
from service.workers.claims import Claims
from service.workers.delivery_limiter import DeliveryLimiter, Standing
from service.workers.lane import Lane, LaneParts
from service.workers.lease import Lease
from service.workers.memory import Memory
from service.workers.outcomes import Outcomes
from service.workers.retry import retry_until_stored

log = logging.getLogger("callbridge.deliver")

BURY_STEP = 500
# Lanes or deliveries in one step.
PAGE = 200
# Lanes of subscriptions that are kept while they are idle.
KEPT = 2000


class Dispatcher:
    def __init__(
        self, store: Store, attempts: Attempts, limiter: DeliveryLimiter, background: Background, lease: Lease
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._limiter = limiter
        self._background = background
        self.memory = Memory()
        self._lease = lease
        claims = Claims(store.queue, lease, attempts.now)
        outcomes = Outcomes(store.queue, background)
        self._parts = LaneParts(attempts, claims, outcomes, limiter, self.memory, background, self)
        self._lanes: dict[str, Lane] = {}
        self._health = asyncio.create_task(attempts.health.run(), name="subscription health")

    async def stop(self, patience: float) -> None:
        """Running attempts get `patience` seconds; the rest stays in the store, and the next start releases it."""
        self._health.cancel()
        for lane in self._lanes.values():
            lane.close()
        await self._background.stop(patience)

    # --- from the store ---

    @property
    def worker(self) -> int:
        return self._lease.worker

    def accepts(self, lane: str) -> int:
        if self._lease.settled(lane):
            return self._lease.worker if self._lane(lane).accepts() else 0
        self.on_waiting(lane)
        return 0

    def on_delivery(self, delivery: Delivery) -> None:
        self._lane(delivery.lane).offer(delivery)

    def on_waiting(self, lane: str) -> None:
        if self._lease.owns(lane):
            self._lane(lane).look_in_store()

    def neglects(self, lane: str) -> bool:
        """Whether the lane is ours and enabled, and yet is neither sending, claiming nor waiting."""
        if not (self._parts.claims.ours(lane) and self._attempts.allowed(lane)):
            return False
        found = self._lanes.get(lane)
        return found is None or found.idle

    # --- lanes come and go with the other workers ---

    async def take_over(self, groups: Collection[int]) -> None:
        """A page at a time, so that a long backlog does not block the event loop."""
        last = ""
        while page := await retry_until_stored(partial(self._store.queue.lanes, last, PAGE)):
            for name in page:
                if group_of(name) in groups:
                    self.on_waiting(name)
                    self.bury_if_removed(name)
            last = page[-1]
            await asyncio.sleep(0)

    async def let_go(self, groups: Collection[int]) -> None:
        leaving = [lane for lane in self._lanes.values() if group_of(lane.name) in groups]
        await self._give_back(leaving)
        for lane in leaving:
            await lane.quiet()
        # What a claim that was under way brought meanwhile.
        await self._give_back(leaving)
        for lane in leaving:
            self._lanes.pop(lane.name, None)

    async def _give_back(self, leaving: Sequence[Lane]) -> None:
        waiting = [delivery for lane in leaving for delivery in lane.take_all()]
        for first in range(0, len(waiting), PAGE):
            part = waiting[first : first + PAGE]
            await retry_until_stored(partial(self._store.queue.give_back, part))

    def drop_all(self) -> None:
        """Running attempts continue, but their outcomes change nothing."""
        for lane in self._lanes.values():
            lane.take_all()

    # --- from requests ---

    def wake(self, lane: str) -> None:
        if self._lease.owns(lane):
            self._lane(lane).end_pauses()

    def room(self, lane: str) -> "asyncio.Future[None]":
        """Resolves when almost nothing waits in this lane."""
        return self._lane(lane).room()

    async def ping(self, delivery: Delivery) -> Delivery:
        group, size = self._limiter.group(delivery.owner, Standing.PING), len(delivery.body)
        if not self._limiter.allows(group, size):
            raise RateLimited("Too many pings are in progress; wait until they end.", retry_after=5)
        self._limiter.take(group, size)
        try:
            posting = self._attempts.post(delivery)
            outcome = await posting if posting is not None else None
        finally:
            self._limiter.release(group, size)
        if outcome is None:
            return delivery
        after = delivery.after(outcome.attempt, None)
        await asyncio.shield(self._store.queue.record(after))
        if outcome.attempt.succeeded:
            self._attempts.health.succeeded(delivery.lane)
            self.wake(delivery.lane)
        return after

    # --- receivers that are gone ---

    def bury_if_removed(self, lane: str) -> None:
        if not lane.startswith(LANE_OF_URL) and self._store.subscriptions.known(lane) is None:
            self._background.spawn(self._bury_if_removed(lane))

    async def _bury_if_removed(self, lane: str) -> None:
        """Another process may have created the subscription a moment ago, so ask the store."""
        if await retry_until_stored(partial(self._store.subscriptions.get, lane)) is None:
            self.bury(lane)

    def bury(self, lane: str) -> None:
        found = self._lanes.pop(lane, None)
        if found is not None:
            found.close()
        self._background.spawn(self._bury(lane, found.take_all() if found else []))

    async def _bury(self, lane: str, in_hand: list[Delivery]) -> None:
        """In steps, so that a million deliveries do not block the writer."""
        if in_hand:
            await retry_until_stored(partial(self._store.queue.give_back, in_hand))
        while await self._store.queue.bury(lane, BURY_STEP) and not self._background.stopping:
            await asyncio.sleep(0)
        # What came meanwhile is for a callback address, which may work again.
        self.on_waiting(lane)

    # --- lanes ---

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, *self._owner_and_host(name), self._parts)
        return lane

    def _owner_and_host(self, lane: str) -> tuple[str, str | None]:
        if not lane.startswith(LANE_OF_URL):
            subscription = self._store.subscriptions.known(lane)
            return ("" if subscription is None else subscription.owner), None
        owner, _, url = lane.removeprefix(LANE_OF_URL).partition(":")
        return owner, urlsplit(url).netloc

    def forget_if_idle(self, lane: Lane) -> None:
        # Lanes of callback addresses are as many as the tasks.
        if (lane.host is not None or len(self._lanes) > KEPT) and lane.idle and self._lanes.get(lane.name) is lane:
            del self._lanes[lane.name]
