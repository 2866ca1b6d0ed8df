"""Notice that the machine's clock was set back, and move all stored due times back with it."""

import asyncio
import logging

from service.core.errors import CallbridgeError
from service.core.ids import new_id
from service.core.times import Clock
from service.ports.clock import ClockStore

log = logging.getLogger("callbridge.clock")
EVERY_SECONDS = 1.0
# A smaller step only delays things by that much.
NOTICED_MS = 1000


class ClockWatch:
    def __init__(self, store: ClockStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Before anything is claimed: the clock may have been set back while nothing ran. Raises Unavailable."""
        newest = await self._store.newest()
        for known in newest.ids:
            new_id.continue_after(known)
        now = self._clock.now_ms()
        if newest.event_at is not None and newest.event_at - now > NOTICED_MS:
            await self._set_back(newest.event_at, now)
        self._loop = asyncio.create_task(self._watch(), name="clock")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            ahead = self._clock.ahead_ms()
            if ahead <= NOTICED_MS:
                continue
            try:
                now = self._clock.now_ms()
                await self._set_back(now, now - ahead)
                self._clock.follow()
            except CallbridgeError as error:
                log.warning("due times are not moved back with the clock yet: %s", error.detail)

    async def _set_back(self, before: int, after: int) -> None:
        log.warning("the clock was set back by %.0f s: due times move back with it", (before - after) / 1000)
        await self._store.set_back(before, after)

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
