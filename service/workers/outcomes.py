"""Write outcomes of attempts to the store: none is lost, and no attempt starts while too many wait."""

import asyncio
import logging
from functools import partial
from typing import Protocol

from service.core.delivery import Delivery
from service.ports.outlets import Outcome
from service.ports.work import DeliveryQueue
from service.workers.background import Background

log = logging.getLogger("callbridge.deliver")

MOST_UNRECORDED = 512
RECORD_AGAIN = 1.0


class Attempting(Protocol):
    """A lane."""

    def pump(self) -> None: ...

    def recorded(self, delivery: Delivery, outcome: Outcome) -> None: ...


# Whose attempt it was, the delivery after it, and how it went.
Attempted = tuple[Attempting, Delivery, Outcome]


class Outcomes:
    def __init__(self, queue: DeliveryQueue, background: Background) -> None:
        self._queue = queue
        self._background = background
        self._unrecorded = 0
        # What the store writes in one transaction resolves one future.
        self._future: asyncio.Future[None] | None = None
        self._together: list[Attempted] = []
        # Lanes that wait for the store to catch up; an ordered set.
        self._waiting: dict[Attempting, None] = {}

    def keep_up(self, lane: Attempting) -> bool:
        """False while the store lags behind; the lane is pumped when it has caught up."""
        if self._unrecorded < MOST_UNRECORDED:
            return True
        self._waiting[lane] = None
        return False

    def record(self, lane: Attempting, delivery: Delivery, outcome: Outcome) -> None:
        """Keeps it in memory until it is on disk, then calls the lane; until then the store shows it as pending."""
        self._unrecorded += 1
        self._record((lane, delivery, outcome))

    def _record(self, attempted: Attempted) -> None:
        future = self._queue.record(attempted[1])
        if future is not self._future:
            self._future, self._together = future, []
            future.add_done_callback(partial(self._recorded, self._together))
        self._together.append(attempted)

    def _recorded(self, together: list[Attempted], done: "asyncio.Future[None]") -> None:
        if done is self._future:
            self._future = None
        if done.cancelled():
            return
        if done.exception() is not None:
            for attempted in together if not self._background.stopping else ():
                asyncio.get_running_loop().call_later(RECORD_AGAIN, self._record, attempted)
            return
        self._unrecorded -= len(together)
        for lane, delivery, outcome in together:
            try:
                lane.recorded(delivery, outcome)
            except Exception:
                log.exception("the outcome of %s was recorded, and what follows from it failed", delivery.id)
        if self._waiting and self._unrecorded < MOST_UNRECORDED:
            waiting, self._waiting = self._waiting, {}
            for lane in waiting:
                lane.pump()
