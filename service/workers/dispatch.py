"""Tell everybody who asked: lanes of deliveries, their outcomes, and the health of each subscription."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from service.core.delivery import GONE, Delivery
from service.core.errors import Unavailable
from service.core.lanes import group_of
from service.core.subscription import LANE_OF_URL, Subscription
from service.ports import Outcome, Outlet, Store
from service.ports.observers import AttemptObserver
from service.wire.tokens import Tokens
from service.workers.host_limiter import Places, host_of
from service.workers.lane import Lane, weight_of
from service.workers.lease import Lease
from service.workers.retry import stubborn as retry_until_stored

log = logging.getLogger("callbridge.deliver")

# Over all lanes: bytes of deliveries in memory, and outcomes that are not on disk yet.
MOST_IN_MEMORY = 32 * 1024 * 1024
MOST_UNRECORDED = 512
RECORD_AGAIN = 1.0
BURY_STEP = 500
LANES_AT_ONCE = 500


class Dispatcher:
    def __init__(
        self,
        store: Store,
        outlet: Outlet,
        tokens: Tokens,
        schedule: tuple[float, ...],
        disable_after: float,
        now: Callable[[], int],
        lease: Lease,
        observers: Sequence[AttemptObserver] = (),
    ) -> None:
        self.store = store
        self.lease = lease
        self.outlet = outlet
        self.tokens = tokens
        self.schedule = schedule
        self.disable_after = disable_after
        self._now = now
        self._observers = observers
        self.stopping = False
        self._lanes: dict[str, Lane] = {}
        self._places = Places()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.in_memory = 0
        self._unrecorded = 0

    # --- what comes in ---

    @property
    def worker(self) -> int:
        return self.lease.worker

    def accepts(self, lane: str) -> int:
        if self.lease.settled(lane):
            return self.lease.worker if self._lane(lane).wants() else 0
        self.on_waiting(lane)
        return 0

    def on_delivery(self, delivery: Delivery) -> None:
        self._lane(delivery.lane).offer(delivery)

    def on_waiting(self, lane: str) -> None:
        if self.lease.owns(lane):
            self._lane(lane).look_on_disk()

    def wake(self, lane: str) -> None:
        self.on_waiting(lane)

    # --- lanes come and go with the other workers ---

    async def take_over(self, groups: Collection[int]) -> None:
        """A page at a time: a long backlog must not hold the loop."""
        last = ""
        while page := await retry_until_stored(partial(self.store.queue.lanes, last, LANES_AT_ONCE)):
            for name in page:
                if group_of(name) in groups:
                    self.on_waiting(name)
                    self.bury_if_removed(name)
            last = page[-1]
            await asyncio.sleep(0)

    async def let_go(self, groups: Collection[int]) -> None:
        leaving = [lane for lane in self._lanes.values() if group_of(lane.name) in groups]
        waiting = [delivery for lane in leaving for delivery in lane.empty()]
        self.in_memory -= sum(map(weight_of, waiting))
        for first in range(0, len(waiting), LANES_AT_ONCE):
            part = waiting[first : first + LANES_AT_ONCE]
            await retry_until_stored(partial(self.store.queue.give_back, part))
        for lane in leaving:
            await lane.at_rest()
            self._lanes.pop(lane.name, None)

    def drop_all(self) -> None:
        """What is under way goes on, and its outcome changes nothing."""
        for lane in self._lanes.values():
            self.in_memory -= sum(map(weight_of, lane.empty()))

    async def stop(self, patience: float) -> None:
        """Attempts in hand may end; what is not done stays on disk and is given back by the next start."""
        self.stopping = True
        for lane in self._lanes.values():
            lane.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        for task in self._tasks:
            task.cancel()

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, host_of(name), self)
        return lane

    def forget_if_idle(self, lane: Lane) -> None:
        # Lanes of callback addresses come and go with the tasks.
        if lane.idle and lane.name.startswith(LANE_OF_URL):
            self._lanes.pop(lane.name, None)

    # --- what lanes ask ---

    def now(self) -> int:
        return self._now()

    @property
    def full(self) -> bool:
        return self.in_memory >= MOST_IN_MEMORY

    def has_place(self, lane: Lane) -> bool:
        return self._places.free_for(lane)

    def take_place(self, lane: Lane) -> None:
        self._places.take(lane)

    def leave_place(self, lane: Lane) -> None:
        self._places.leave(lane)

    @property
    def lagging(self) -> bool:
        """The store does not keep up with the outcomes: no new attempts until it does."""
        return self._unrecorded >= MOST_UNRECORDED

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def enabled(self, lane: str) -> bool:
        """May anything of this lane be sent now?"""
        if not (self.lease.owns(lane) and self.lease.valid()):
            return False
        if lane.startswith(LANE_OF_URL):
            return True
        subscription = self.store.subscriptions.known(lane)
        return subscription is not None and subscription.enabled

    async def claim(self, lane: str, limit: int) -> list[Delivery]:
        return await self.store.queue.claim(self.lease.worker, lane, self.now(), limit)

    async def next_due(self, lane: str) -> int | None:
        return await self.store.queue.next_due(lane)

    def post(self, delivery: Delivery) -> Awaitable[Outcome] | None:
        """None when the subscription is gone."""
        if delivery.subscription_id is None:
            secrets = self.tokens.owner_secrets(delivery.owner)
            return self.outlet.post(delivery.url, delivery.event_id, delivery.body, secrets, {})
        subscription = self.store.subscriptions.known(delivery.subscription_id)
        if subscription is None:
            return None
        return self.outlet.post(
            subscription.url, delivery.event_id, delivery.body, subscription.secrets(self.now()), subscription.headers
        )

    def record(self, delivery: Delivery, then: Callable[[], None]) -> None:
        """Kept in memory until it is on disk, then `then` is called; until then the store shows it as pending."""
        self._unrecorded += 1
        self._record(delivery, then)

    def _record(self, delivery: Delivery, then: Callable[[], None]) -> None:
        self.store.queue.record(delivery).add_done_callback(partial(self._recorded, delivery, then))

    def _recorded(self, delivery: Delivery, then: Callable[[], None], done: "asyncio.Future[None]") -> None:
        if done.cancelled() or (done.exception() is not None and self.stopping):
            return
        if done.exception() is not None:
            asyncio.get_running_loop().call_later(RECORD_AGAIN, self._record, delivery, then)
            return
        was_lagging = self.lagging
        self._unrecorded -= 1
        then()
        if was_lagging and not self.lagging:
            for lane in list(self._lanes.values()):
                lane.pump()

    # --- the health of a subscription ---

    def note_health(self, delivery: Delivery, outcome: Outcome) -> None:
        for observer in self._observers:
            observer.attempted(delivery, outcome)
        name = delivery.subscription_id
        if name is None:
            return
        subscription = self.store.subscriptions.known(name)
        if not outcome.attempt.succeeded:
            self.spawn(self._note_failure(name, outcome.attempt.status_code == GONE))
        elif subscription is not None and subscription.failing_since is not None:
            self.spawn(self._change(name, lambda item: (replace(item, failing_since=None), None)))

    async def _note_failure(self, subscription_id: str, gone: bool) -> None:
        if gone:
            await self._disable(subscription_id, "The receiver answered 410 Gone.")
            return
        subscription = self.store.subscriptions.known(subscription_id)
        if subscription is None:
            # Removed while the attempt ran: what it left pending is buried too.
            self.bury_if_removed(subscription_id)
            return
        if not subscription.enabled:
            return
        now = self.now()
        if subscription.failing_since is None:
            await self._change(
                subscription_id,
                lambda item: (replace(item, failing_since=now), None) if item.failing_since is None else None,
            )
        elif now - subscription.failing_since >= self.disable_after * 1000:
            days = self.disable_after / 86_400
            await self._disable(subscription_id, f"Every delivery failed for {days:g} days.")

    async def _disable(self, subscription_id: str, reason: str) -> None:
        now = self.now()

        def decide(item: Subscription) -> tuple[Subscription, str | None] | None:
            if not item.enabled:
                return None
            disabled = replace(item, enabled=False, disabled_reason=reason, updated_at=now)
            return disabled, "subscription.disabled"

        await self._change(subscription_id, decide)

    async def _change(
        self,
        subscription_id: str,
        decide: Callable[[Subscription], tuple[Subscription, str | None] | None],
    ) -> None:
        try:
            await self.store.subscriptions.change(subscription_id, decide)
        except Unavailable as error:
            log.warning("subscription %s: its health is not recorded: %s", subscription_id, error.detail)

    # --- removed subscriptions ---

    def bury_if_removed(self, lane: str) -> None:
        if not lane.startswith(LANE_OF_URL) and self.store.subscriptions.known(lane) is None:
            self.spawn(self._bury(lane))

    async def _bury(self, lane: str) -> None:
        """In steps: a million waiting deliveries must not hold the writer."""
        while await self.store.queue.bury(lane, BURY_STEP) and not self.stopping:
            await asyncio.sleep(0)
        gone = self._lanes.pop(lane, None)
        if gone is not None:
            self.in_memory -= gone.weight
