"""Claim deliveries from the store for the lanes: a few lanes at a time, so that requests do not wait."""

from asyncio import Future
from collections.abc import Callable, Sequence

from service.core.delivery import Delivery
from service.ports.work import DeliveryQueue
from service.workers.lease import Lease
from service.workers.waiting import WaitingLane

# After a restart a hundred thousand lanes may have something due, and each claim is a transaction.
AT_ONCE = 16


class Claims:
    def __init__(self, queue: DeliveryQueue, lease: Lease, now: Callable[[], int]) -> None:
        self.now = now
        self._queue = queue
        self._lease = lease
        self._running = 0
        # An ordered set: first come, first served.
        self._waiting: dict[WaitingLane, None] = {}

    def ours(self, lane: str) -> bool:
        """False when another worker may be sending in this lane."""
        return self._lease.holds(lane)

    def begin(self, lane: WaitingLane) -> bool:
        """False while too many claim; the lane is pumped when it is its turn. After True call `end`."""
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
        with self._lease.watchdog.step("deliveries"):
            return await self._queue.claim(self._lease.worker, lane, self.now(), limit)

    def give_back(self, deliveries: Sequence[Delivery]) -> "Future[None]":
        return self._queue.give_back(deliveries)

    async def next_due(self, lane: str) -> int | None:
        return await self._queue.next_due(lane)
