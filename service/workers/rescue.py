"""Take back the claims of workers that ended."""

import asyncio
import logging
from collections.abc import Callable

from service.core.errors import CallbridgeError
from service.core.points import Point
from service.core.task import Task
from service.core.transitions import Timing, lost, under_claim
from service.ports.store import Store
from service.workers.lease import BEAT, Lease

log = logging.getLogger("callbridge.rescue")
# Seconds. How often a worker looks after the others, if there are any.
LOOK = 1.0


class Rescuer:
    """Every worker does this for all others; several at once do no harm."""

    def __init__(self, store: Store, streams: Callable[[Task], bool], timing: Timing, lease: Lease) -> None:
        self._store = store
        self._streams = streams
        self._timing = timing
        self._lease = lease
        self._task: asyncio.Task[None] | None = None

    async def start(self, alone: bool) -> None:
        """`alone`: no worker ran before this one, so callbacks may have been lost."""
        await self.take_back(self._lease.store_now())
        if alone:
            await self._store.checks.all_due(self._timing.now())
        self._task = asyncio.create_task(self._run(), name="rescue")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK if self._lease.living > 1 else BEAT)
            try:
                if self._lease.valid():
                    # Leases run out for all at once when the store was away: then only a process that is gone counts.
                    await self.take_back(self._lease.store_now() if self._lease.steady else 0)
            except CallbridgeError as error:
                log.warning("the claims of ended workers are not taken back yet: %s", error.detail)

    async def take_back(self, now: int) -> None:
        """End the leases that expired by `now`, and release the claims of their workers."""
        ended = await self._store.workers.end_expired(now)
        for worker in ended:
            if worker != self._lease.worker:
                await self._take_back_of(worker)
        if ended:
            self._lease.beat_soon()

    async def _take_back_of(self, worker: int) -> None:
        for task in await self._store.submits.held_by(worker):
            decide = lost(self._streams(task), self._timing)
            await self._store.tasks.change(Point.RECOVER, task.id, under_claim(task, decide))
        await self._store.workers.remove(worker)
