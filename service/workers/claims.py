"""Deliveries on their way from the store to the lanes: a few lanes claim at a time, so that requests do not wait."""

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Protocol

from service.core.delivery import Delivery
from service.ports.work import DeliveryQueue
from service.workers.lease import Lease

# A restart may find a hundred thousand lanes with something due; each claim is a transaction.
AT_ONCE = 16


class Pumped(Protocol):
    def pump(self) -> None: ...


class Claims:
    def __init__(self, queue: DeliveryQueue, lease: Lease, now: Callable[[], int]) -> None:
        self.now = now
        self._queue = queue
        self._lease = lease
        self._running = 0
        # An ordered set, first come first served.
        self._waiting: dict[Pumped, None] = {}

    def ours(self, lane: str) -> bool:
        """False: another worker may be sending what waits there."""
        return self._lease.holds(lane)

    def begin(self, lane: Pumped) -> bool:
        """False: too many claim now; the lane is pumped when it is its turn. True: call `end` afterwards."""
        if self._running >= AT_ONCE:
            self._waiting[lane] = None
            return False
        self._waiting.pop(lane, None)
        self._running += 1
        return True

    def end(self) -> None:
        self._running -= 1
        while self._waiting and self._running < AT_ONCE:
            lane = next(iter(self._waiting))
            del self._waiting[lane]
            lane.pump()

    async def claim(self, lane: str, limit: int) -> list[Delivery]:
        with self._lease.progress.step("deliveries"):
            return await self._queue.claim(self._lease.worker, lane, self.now(), limit)

    def give_back(self, deliveries: Sequence[Delivery]) -> "Future[None]":
        return self._queue.give_back(deliveries)

    async def next_due(self, lane: str) -> int | None:
        return await self._queue.next_due(lane)
