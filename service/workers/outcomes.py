"""Outcomes of attempts on their way to the store: none is forgotten, and no attempt starts while too many wait."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from service.core.delivery import Delivery
from service.ports.work import DeliveryQueue
from service.workers.background import Background

MOST_UNRECORDED = 512
RECORD_AGAIN = 1.0


class Pumped(Protocol):
    def pump(self) -> None: ...


class Outcomes:
    def __init__(self, queue: DeliveryQueue, background: Background) -> None:
        self._queue = queue
        self._background = background
        self._unrecorded = 0
        # Lanes that wait for the store to catch up; an ordered set.
        self._waiting: dict[Pumped, None] = {}

    def keep_up(self, lane: Pumped) -> bool:
        """False: the store lags behind; the lane is pumped when it has caught up."""
        if self._unrecorded < MOST_UNRECORDED:
            return True
        self._waiting[lane] = None
        return False

    def record(self, delivery: Delivery, then: Callable[[], None]) -> None:
        """Kept in memory until it is on disk, then `then` is called; until then the store shows it as pending."""
        self._unrecorded += 1
        self._record(delivery, then)

    def _record(self, delivery: Delivery, then: Callable[[], None]) -> None:
        self._queue.record(delivery).add_done_callback(partial(self._recorded, delivery, then))

    def _recorded(self, delivery: Delivery, then: Callable[[], None], done: "asyncio.Future[None]") -> None:
        if done.cancelled():
            return
        if done.exception() is not None:
            if not self._background.stopping:
                asyncio.get_running_loop().call_later(RECORD_AGAIN, self._record, delivery, then)
            return
        self._unrecorded -= 1
        then()
        if self._waiting and self._unrecorded < MOST_UNRECORDED:
            waiting, self._waiting = self._waiting, {}
            for lane in waiting:
                lane.pump()
