"""One lane: the deliveries of one receiver, a few at a time, in the order of their events per task."""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from service.core.delivery import Delivery, DeliveryStatus
from service.core.errors import CallbridgeError, Unavailable
from service.ports.outlets import Outcome
from service.workers.attempts import Attempts
from service.workers.background import Background
from service.workers.claims import Claims
from service.workers.delivery_limiter import DeliveryLimiter, Group, Standing
from service.workers.lane_pauses import PARALLEL, LanePauses
from service.workers.lane_timer import LaneTimer
from service.workers.memory import Memory
from service.workers.outcomes import Outcomes
from service.workers.retry import retry_until_stored
from service.workers.task_order import TaskOrder

log = logging.getLogger("callbridge.deliver")

# Deliveries of one lane in memory, and of one whose last attempt failed; more wait in the store.
ROOM, FAILING_ROOM = 1024, 32
CLAIM = 64
# Seconds between looks at a lane that another worker takes over, until it is quiet.
QUIET_LOOK = 0.05
# Seconds after which a delivery that was left to the store is visible there.
COMMIT = 1.0


class LaneRegistry(Protocol):
    """All lanes of this process."""

    def forget_if_idle(self, lane: "Lane") -> None: ...

    def bury(self, lane: str) -> None:
        """Make everything that is pending in the lane dead."""
        ...

    def bury_if_removed(self, lane: str) -> None: ...


@dataclass(frozen=True, slots=True)
class LaneParts:
    """What all lanes share."""

    attempts: Attempts
    claims: Claims
    outcomes: Outcomes
    limiter: DeliveryLimiter
    memory: Memory
    background: Background
    registry: LaneRegistry


class Lane:
    def __init__(self, name: str, owner: str, host: str | None, parts: LaneParts) -> None:
        """`host` is that of a callback address, None for a subscription."""
        self.name = name
        self.owner = owner
        self.host = host
        self.parts = parts
        self._ready: deque[Delivery] = deque()
        self._order = TaskOrder()
        self._group: Group | None = None
        self._running = self._recording = 0
        # Whether something may be due in the store, and whether a delivery was left to it while a claim was running.
        self._in_store = False
        self._missed_while_claiming = False
        self._claiming = False
        # Moments of the loop's clock: when a delivery was last left to the store, and before which a claim is no use.
        self._refused_at = -COMMIT
        self._look_after = 0.0
        self._pauses = LanePauses()
        self._timer = LaneTimer(self.look_in_store)
        self._on_room: list[asyncio.Future[None]] = []

    @property
    def idle(self) -> bool:
        busy = self._running or self._recording or self._claiming
        return not (busy or self._ready or self._in_store or self._timer.pending)

    @property
    def group(self) -> Group:
        standing = Standing.CALLBACK if self.host is not None else self.parts.attempts.health.standing(self.name)
        if self._group is None or self._group.standing is not standing:
            self._group = self.parts.limiter.group(self.owner, standing, self.host)
        return self._group

    # --- what comes in ---

    def accepts(self) -> bool:
        """Whether a new delivery may wait in memory. If not, it waits in the store and is claimed from there."""
        room = FAILING_ROOM if self._pauses.failures else ROOM
        waiting = len(self._ready) + self._order.waiting
        if self._in_store or self._pauses.asked or waiting >= room or self.parts.memory.full:
            # Once something waits in the store, everything newer must go there too, or it would overtake.
            self._missed_while_claiming = True
            self._refused_at = asyncio.get_running_loop().time()
            # When memory is full this lane may be idle, and then nothing else would look there.
            self.look_in_store()
            return False
        return True

    def offer(self, delivery: Delivery) -> None:
        self._ready.append(delivery)
        self.parts.memory.add_one(len(delivery.body))
        self.pump()

    def look_in_store(self) -> None:
        self._in_store = True
        self._look_after = 0.0
        self.pump()

    def end_pauses(self) -> None:
        """A person asked for a delivery now, or a ping succeeded."""
        self._pauses.end()
        self.look_in_store()

    def room(self) -> "asyncio.Future[None]":
        """Resolves when almost nothing waits here."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_room.append(future)
        self._tell_room()
        return future

    def take_all(self) -> list[Delivery]:
        """Remove and return what waits here; it will not be sent from here."""
        found = [*self._ready, *self._order.take_all()]
        self._ready.clear()
        self.parts.memory.remove(found)
        self.close()
        return found

    async def quiet(self) -> None:
        """Returns once nothing is in progress."""
        while self._running or self._recording or self._claiming:
            await asyncio.sleep(QUIET_LOOK)

    def close(self) -> None:
        self._timer.cancel()

    # --- what starts ---

    def pump(self) -> None:
        """Start what may start now."""
        most = self._pauses.parallel
        while self._running < most and (started := self._next()) is not None:
            self._running += 1
            self.parts.background.spawn(self._run(*started))
        if self._in_store and not self._ready and self._running < most:
            self._claim_soon()

    @property
    def _allowed(self) -> bool:
        parts, name = self.parts, self.name
        return not parts.background.stopping and parts.claims.ours(name) and parts.attempts.allowed(name)

    def _next(self) -> tuple[Delivery, Group] | None:
        """The next delivery that may be sent now, with a place in its group."""
        parts = self.parts
        while self._ready and self._allowed and parts.outcomes.keep_up(self) and not self._must_pause():
            size = len(self._ready[0].body)
            group = self.group
            if not parts.limiter.allows(group, size):
                parts.limiter.wait(self, group)
                return None
            delivery = self._ready.popleft()
            if self._order.must_wait(delivery):
                continue
            self._pauses.on_start()
            parts.memory.remove_one(size)
            parts.limiter.take(group, size)
            return delivery, group
        return None

    def _must_pause(self) -> bool:
        until = self._pauses.until()
        if not until:
            return False
        self._timer.set(until)
        return True

    async def _run(self, delivery: Delivery, group: Group) -> None:
        """One of the senders of this lane; ends when nothing may be sent."""
        started: tuple[Delivery, Group] | None = (delivery, group)
        try:
            while started is not None:
                delivery, group = started
                outcome: Outcome | None = None
                try:
                    posting = self.parts.attempts.post(delivery)
                    if posting is not None:
                        outcome = await posting
                finally:
                    self._attempted(delivery, group, outcome)
                started = self._next()
        finally:
            self._running -= 1
        self.pump()

    def _attempted(self, delivery: Delivery, group: Group, outcome: Outcome | None) -> None:
        """`outcome` None: the attempt was not made, or cancelled."""
        parts = self.parts
        if behind := self._order.done(delivery):
            self._ready.extendleft(reversed(behind))
        if outcome is not None:
            if outcome.attempt.succeeded:
                self._pauses.failures = 0
            else:
                self._on_failure(outcome)
        # Last, because it may pump this lane again.
        parts.limiter.release(group, len(delivery.body))
        if outcome is not None:
            self._recording += 1
            parts.outcomes.record(self, parts.attempts.after(delivery, outcome), outcome)

    def _on_failure(self, outcome: Outcome) -> None:
        if self._pauses.on_failure(outcome, is_callback_address=self.host is not None):
            self._in_store = True
            if waiting := self.take_all():
                self._recording += 1
                self.parts.background.spawn(self._give_back(waiting))

    async def _give_back(self, waiting: list[Delivery]) -> None:
        """To the store, since a pause may last a day."""
        await retry_until_stored(partial(self.parts.claims.give_back, waiting))
        self._recording -= 1
        self.pump()

    def recorded(self, after: Delivery, outcome: Outcome) -> None:
        """The outcome is on disk."""
        self._recording -= 1
        self.parts.attempts.note(after, outcome)
        if after.status is not DeliveryStatus.DELIVERED:
            self._not_delivered(after)
        self._settle()

    def _not_delivered(self, after: Delivery) -> None:
        if self._pauses.for_ever:
            self.parts.registry.bury(self.name)
        elif after.next_attempt_at is not None:
            # The subscription may have been removed while the attempt ran.
            self.parts.registry.bury_if_removed(self.name)
            self._look_at(after.next_attempt_at)

    def _settle(self) -> None:
        if self._on_room:
            self._tell_room()
        self.parts.registry.forget_if_idle(self)

    def _tell_room(self) -> None:
        if self._in_store or len(self._ready) + self._order.waiting + self._running > PARALLEL:
            return
        waiting, self._on_room = self._on_room, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # --- from the store ---

    def _claim_soon(self) -> None:
        waits = self._look_after > asyncio.get_running_loop().time()
        if waits or self._claiming or not self._allowed or self._must_pause():
            return
        group = self.group
        if not self.parts.limiter.allows(group):
            # Claim only what can be sent soon; the rest would fill the memory.
            self.parts.limiter.wait(self, group)
        elif self.parts.claims.begin(self):
            self._claiming = True
            self.parts.background.spawn(self._claim())

    async def _claim(self) -> None:
        self._missed_while_claiming = False
        try:
            # When memory is full, no more than is sent at once.
            wanted = 1 if self.parts.memory.full else CLAIM
            claimed = await self.parts.claims.claim(self.name, wanted)
            # Before anything is awaited: what arrives meanwhile must come after these.
            self._ready.extend(claimed)
            self.parts.memory.add(claimed)
            committed_at = self._refused_at + COMMIT
            if len(claimed) == wanted or self._missed_while_claiming:
                pass
            elif committed_at > asyncio.get_running_loop().time():
                # What was left to the store may not be committed yet, and nothing newer may overtake it.
                self._look_after = committed_at
                self._timer.set(committed_at)
            else:
                self._in_store = False
                due = await self.parts.claims.next_due(self.name)
                if due is not None:
                    self._look_at(due)
        except Unavailable:
            self._in_store = True
            await asyncio.sleep(1)
        except CallbridgeError as error:
            log.error("lane %s: %s", self.name, error.detail)
        finally:
            self._claiming = False
            self.parts.claims.end()
        self.pump()
        self._settle()

    def _look_at(self, moment: int) -> None:
        """Look in the store at `moment` (wall clock, ms)."""
        wait = max(0.0, (moment - self.parts.claims.now()) / 1000)
        self._timer.set(asyncio.get_running_loop().time() + wait)
