"""This process as a worker: its number, its lease, and the lane groups that it owns."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from functools import partial
from typing import Protocol

from service.core.errors import CallbridgeError
from service.core.lanes import ALL_GROUPS, GROUPS, group_of
from service.ports.store import Store
from service.workers.watchdog import Watchdog

log = logging.getLogger("callbridge.lease")

# Seconds. A worker that stops renewing is noticed within LEASE + BEAT, and its claims are released well within 30 s.
LEASE = 18.0
BEAT = 3.0
# A worker distrusts its own lease a little before the others do.
MARGIN = 2.0
# How long a start waits for the first look into its lanes.
FIRST_LOOK = 1.0


# Also counts while the machine sleeps, so that a process knows for how long it was suspended.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


uptime = partial(time.clock_gettime, CLOCK)


def fair_share(living: int) -> int:
    """Of the groups of lanes, with so many workers."""
    return -(-GROUPS // living)


class LaneHolder(Protocol):
    """What works on the lanes that this process owns."""

    async def take_over(self, groups: Collection[int]) -> None:
        """Lanes of these groups are ours from now on, with everything that waits in them."""
        ...

    async def let_go(self, groups: Collection[int]) -> None:
        """They are no longer ours. Returns once nothing in them is claimed."""
        ...

    def drop_all(self) -> None:
        """All claims of this process are lost: forget them."""
        ...


class Lease:
    def __init__(self, store: Store, clock: Callable[[], float] = uptime) -> None:
        self._store = store
        self._clock = clock
        self.worker = 0
        self.watchdog = Watchdog(clock)
        self._valid_until = 0.0
        self._steady_since = 0.0
        # What the clock of the store is ahead of ours, in milliseconds.
        self._store_ahead = 0
        # This one included; until the first renewal there may be others.
        self.living = 2
        self._groups: frozenset[int] = frozenset()
        self._settled: frozenset[int] = frozenset()
        self._leaving: set[int] = set()
        self._holder: LaneHolder | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def valid(self) -> bool:
        """Check this before anything that must not happen twice: another worker may have taken over our claims."""
        return self._clock() < self._valid_until

    def holds(self, lane: str) -> bool:
        """The lane is ours and the lease is valid, so no other worker sends in it."""
        return self._clock() < self._valid_until and (self._settled is ALL_GROUPS or group_of(lane) in self._groups)

    def owns(self, lane: str) -> bool:
        """Its deliveries are ours to claim and to send."""
        return self._settled is ALL_GROUPS or group_of(lane) in self._groups

    def settled(self, lane: str) -> bool:
        """Also, we know what waits in it, so that new deliveries do not overtake that."""
        return self._settled is ALL_GROUPS or group_of(lane) in self._settled

    @property
    def steady(self) -> bool:
        """Renewed without a lapse for a while; only then may others be declared dead. After an outage of the store all
        leases have expired at once, and all workers are about to renew."""
        return self.valid() and self._clock() - self._steady_since > 2 * BEAT

    async def start(self, holder: LaneHolder) -> bool:
        """Join and take lanes. True when no other worker was there."""
        self._holder = holder
        alone = await self._join()
        await self._share_lanes(1 if alone else 2)
        # A long backlog is read in the background; no new delivery overtakes it meanwhile.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FIRST_LOOK)
        self._spawn(self._run())
        return alone

    async def stop(self) -> None:
        """The others may have everything at once.

        The lanes are not released here: they come free together with the deliveries that are still in hand, so that
        nobody looks into a lane before there is something to claim.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._valid_until = 0.0
        if self.worker:
            await self._store.workers.renew(self.worker, 0)

    def store_now(self) -> int:
        """About what the clock of the store says; it is read with each renewal."""
        return int(self._clock() * 1000) + self._store_ahead

    async def beat(self) -> None:
        """Renew once, and share the lanes with the workers that are alive."""
        started = self._clock()
        renewed = await self._store.workers.renew(self.worker, self.store_now() + int(LEASE * 1000))
        if renewed is None:
            log.warning("this worker was suspended for so long that others took over its work")
            self._groups = self._settled = frozenset()
            self._leaving.clear()
            self._valid_until = 0.0
            if self._holder is not None:
                self._holder.drop_all()
            await self._join()
            await self._share_lanes(2)
            return
        if started > self._valid_until:
            self._steady_since = started
        self._valid_until = started + LEASE - MARGIN
        self._read_clock(renewed.now)
        self.living = renewed.living
        fair = fair_share(renewed.living)
        owned = len(self._groups | self._leaving)
        if owned > fair or (renewed.free_groups and owned < fair):
            await self._share_lanes(renewed.living)

    async def _join(self) -> bool:
        started = self._clock()
        now = await self._store.workers.now()
        self._read_clock(now)
        self.worker, alone = await self._store.workers.join(now, now + int(LEASE * 1000))
        self._valid_until = started + LEASE - MARGIN
        self._steady_since = started
        return alone

    def _read_clock(self, now: int) -> None:
        self._store_ahead = now - int(self._clock() * 1000)

    async def _share_lanes(self, living: int) -> None:
        fair = fair_share(living)
        owned = await self._store.lanes.take(self.worker, fair) - self._leaving
        surplus = sorted(owned)[fair:]
        self._set_groups(owned.difference(surplus))
        if surplus:
            self._leaving.update(surplus)
            self._spawn(self._let_go(surplus))

    def _set_groups(self, groups: frozenset[int]) -> None:
        gained = groups - self._groups
        self._groups = groups
        self._settle(self._settled & groups)
        if gained:
            self._spawn(self._take_over(gained))

    async def _take_over(self, gained: frozenset[int]) -> None:
        if self._holder is not None:
            await self._holder.take_over(gained)
        self._settle(self._settled | (gained & self._groups))

    def _settle(self, groups: frozenset[int]) -> None:
        self._settled = ALL_GROUPS if groups == ALL_GROUPS else groups

    async def _let_go(self, groups: Collection[int]) -> None:
        # Accepted while they were ours, and not committed yet: it would come to a lane that nobody works on.
        await self._store.lanes.drain()
        if self._holder is not None:
            await self._holder.let_go(groups)
        await self._store.lanes.release(self.worker, groups)
        self._leaving.difference_update(groups)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def beat_soon(self) -> None:
        """Lanes have become free."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), BEAT)
            self._wake.clear()
            try:
                with self.watchdog.step("lease"):
                    await self.beat()
            except CallbridgeError as error:
                log.warning("the lease is not renewed: %s", error.detail)
