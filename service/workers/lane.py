"""One lane: the deliveries of one subscription, a few at a time, in the order of their events per task."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from service.core.delivery import GONE, Delivery, DeliveryStatus, wait_before_next
from service.core.errors import CallbridgeError, Unavailable
from service.ports import Outcome

log = logging.getLogger("callbridge.deliver")

PARALLEL = 8
# Deliveries of one lane in memory, and of one whose last attempt failed; more wait on disk.
ROOM, FAILING_ROOM = 1024, 32
CLAIM = 64
# How often a lane that is given to another worker is looked at until it rests.
REST_LOOK = 0.05
# A delivery in memory without its body, about.
OVERHEAD = 600
# A target that only fails is tried at this pace, so that a million deliveries to a dead one cost the others nothing.
FAILING_AFTER = 64
FAILING_GAP = 0.25


class Dispatcher(Protocol):
    """What a lane asks of the whole."""

    schedule: tuple[float, ...]
    stopping: bool
    # Bytes of the deliveries that wait in memory, over all lanes.
    in_memory: int

    @property
    def full(self) -> bool: ...

    @property
    def lagging(self) -> bool: ...

    def now(self) -> int: ...

    def enabled(self, lane: str) -> bool: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...

    def post(self, delivery: Delivery) -> Awaitable[Outcome] | None: ...

    def record(self, delivery: Delivery, then: Callable[[], None]) -> None: ...

    def note_health(self, delivery: Delivery, outcome: Outcome) -> None: ...

    async def claim(self, lane: str, limit: int) -> list[Delivery]: ...

    async def next_due(self, lane: str) -> int | None: ...

    def has_place(self, lane: "Lane") -> bool:
        """False: the host is busy with other lanes; this one is pumped when a place is free."""
        ...

    def take_place(self, lane: "Lane") -> None: ...

    def leave_place(self, lane: "Lane") -> None: ...

    def forget_if_idle(self, lane: "Lane") -> None: ...


class Lane:
    def __init__(self, name: str, host: str | None, dispatcher: Dispatcher) -> None:
        """`host`: which lanes share the places there; None for a subscription, which has only its own limit."""
        self.name = name
        self.host = host
        self.dispatcher = dispatcher
        self._ready: deque[Delivery] = deque()
        # First attempts of a task go one after the other: what follows waits behind the one in hand.
        self._behind: dict[str, deque[Delivery]] = {}
        self._running = self._recording = 0
        self._waiting_behind = 0
        self._on_disk = False
        self._missed_while_claiming = False
        self._claiming = False
        self._failures = 0
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @property
    def idle(self) -> bool:
        busy = self._running or self._recording or self._claiming
        return not (busy or self._ready or self._on_disk or self._timer)

    @property
    def weight(self) -> int:
        """Bytes of what waits here."""
        behind = (item for items in self._behind.values() for item in items)
        return sum(map(weight_of, self._ready)) + sum(map(weight_of, behind))

    def wants(self) -> bool:
        room = FAILING_ROOM if self._failures else ROOM
        waiting = len(self._ready) + self._waiting_behind
        if self._on_disk or waiting >= room or self.dispatcher.full:
            # Once something waits on disk all that is newer must go there too, or it would overtake.
            self._missed_while_claiming = True
            # When the whole is full this lane may be idle, and then nobody else would look there.
            self.look_on_disk()
            return False
        return True

    def offer(self, delivery: Delivery) -> None:
        self._ready.append(delivery)
        self.dispatcher.in_memory += weight_of(delivery)
        self.pump()

    def look_on_disk(self) -> None:
        self._on_disk = True
        self.pump()

    def pump(self) -> None:
        """Start what may start now."""
        while self._running < PARALLEL and (delivery := self._next()) is not None:
            self._running += 1
            self.dispatcher.spawn(self._run(delivery))
        empty = not self._ready and self._running < PARALLEL
        if self._on_disk and not self._claiming and empty and self._allowed:
            self._claiming = True
            self.dispatcher.spawn(self._claim())

    @property
    def _allowed(self) -> bool:
        return not self.dispatcher.stopping and self.dispatcher.enabled(self.name)

    def _next(self) -> Delivery | None:
        """The next that may be sent now, with a place for it."""
        while self._ready and self._allowed and not self.dispatcher.lagging and self.dispatcher.has_place(self):
            now = asyncio.get_running_loop().time()
            if self._not_before > now:
                self._wake_at(self._not_before)
                return None
            delivery = self._ready.popleft()
            if self._must_wait(delivery):
                continue
            if self._failures >= FAILING_AFTER:
                self._not_before = now + FAILING_GAP
            self.dispatcher.in_memory -= weight_of(delivery)
            self.dispatcher.take_place(self)
            return delivery
        return None

    def _must_wait(self, delivery: Delivery) -> bool:
        if delivery.tries or delivery.task_id is None:
            return False
        behind = self._behind.get(delivery.task_id)
        if behind is None:
            self._behind[delivery.task_id] = deque()
            return False
        behind.append(delivery)
        self._waiting_behind += 1
        return True

    async def _run(self, first: Delivery) -> None:
        """One of the few that send for this lane, until nothing may be sent any more."""
        delivery: Delivery | None = first
        try:
            while delivery is not None:
                await self._attempt(delivery)
                delivery = self._next()
        finally:
            self._running -= 1
        self.pump()
        self.dispatcher.forget_if_idle(self)

    async def _attempt(self, delivery: Delivery) -> None:
        outcome: Outcome | None = None
        try:
            posting = self.dispatcher.post(delivery)
            if posting is not None:
                outcome = await posting
        finally:
            self._let_next_of_task(delivery)
            self.dispatcher.leave_place(self)
        if outcome is not None:
            after = self._judge(delivery, outcome)
            self._recording += 1
            self.dispatcher.record(after, partial(self._recorded, after, outcome))

    def _recorded(self, after: Delivery, outcome: Outcome) -> None:
        self._recording -= 1
        self.dispatcher.note_health(after, outcome)
        if after.status is DeliveryStatus.PENDING and after.next_attempt_at is not None:
            self._wake_in(after.next_attempt_at)
        self.dispatcher.forget_if_idle(self)

    def _let_next_of_task(self, delivery: Delivery) -> None:
        if delivery.tries or delivery.task_id is None:
            return
        behind = self._behind.pop(delivery.task_id, None)
        if behind:
            self._waiting_behind -= len(behind)
            self._ready.extendleft(reversed(behind))

    def _judge(self, delivery: Delivery, outcome: Outcome) -> Delivery:
        attempt = outcome.attempt
        if attempt.succeeded:
            self._failures = 0
            return delivery.after(attempt, None)
        self._failures += 1
        if attempt.status_code == GONE:
            return delivery.after(attempt, None)
        wait = wait_before_next(
            self.dispatcher.schedule,
            delivery.tries + 1,
            outcome.retry_after,
            random.random(),  # noqa: S311 - spreads retries
        )
        return delivery.after(attempt, None if wait is None else self.dispatcher.now() + int(wait * 1000))

    async def _claim(self) -> None:
        self._missed_while_claiming = False
        try:
            # When memory is short, no more than can be sent at once.
            wanted = PARALLEL if self.dispatcher.full else CLAIM
            claimed = await self.dispatcher.claim(self.name, wanted)
            # Before anything else is waited for: what is told meanwhile must stand behind them.
            self._ready.extend(claimed)
            self.dispatcher.in_memory += sum(map(weight_of, claimed))
            if len(claimed) < wanted and not self._missed_while_claiming:
                self._on_disk = False
                due = await self.dispatcher.next_due(self.name)
                if due is not None:
                    self._wake_in(due)
        except Unavailable:
            self._on_disk = True
            await asyncio.sleep(1)
        except CallbridgeError as error:
            log.error("lane %s: %s", self.name, error.detail)
        finally:
            self._claiming = False
        self.pump()
        self.dispatcher.forget_if_idle(self)

    def _wake_in(self, moment: int) -> None:
        """Look on disk at `moment` (milliseconds of the clock)."""
        loop = asyncio.get_running_loop()
        self._wake_at(loop.time() + max(0.0, (moment - self.dispatcher.now()) / 1000))

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        self._timer = asyncio.get_running_loop().call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.look_on_disk()

    def empty(self) -> list[Delivery]:
        """Give up all that is not under way; returns it."""
        waiting = [*self._ready, *(item for items in self._behind.values() for item in items)]
        self._ready.clear()
        for items in self._behind.values():
            items.clear()
        self._waiting_behind = 0
        self.stop()
        self._timer = None
        return waiting

    async def at_rest(self) -> None:
        """Returns when nothing is under way any more."""
        while self._running or self._recording or self._claiming:
            await asyncio.sleep(REST_LOOK)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def weight_of(delivery: Delivery) -> int:
    """Its body may be shared with other lanes; counted here as if it were not."""
    return len(delivery.body) + OVERHEAD
