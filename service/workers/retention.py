"""Remove everything older than RETENTION_DAYS, in small steps with pauses."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.core.errors import CallbridgeError
from service.core.times import now_ms
from service.ports.clock import ClockStore
from service.ports.store import Store

log = logging.getLogger("callbridge.tidy")
T = TypeVar("T")
DAY = 86_400
KEYS_KEPT_MS = 48 * 3600 * 1000
# Pause after each step for so many times as long as it took, a 2% duty cycle, so that callbacks come first; but never
# so long that removal cannot keep up.
REST, LONGEST_REST = 50, 0.5
ROUND = 600.0


class RemovalClock:
    """Age is measured by a clock that never runs faster than a day per hour, and is stored.

    If the machine's clock is wrong by a month, at the start or later, there are hours to notice, and the log warns from
    the first round on. After a long stop it catches up by itself.
    """

    SPEED = 24

    def __init__(self, store: ClockStore, warn_after_seconds: float) -> None:
        self._store = store
        self._warn_after_ms = int(warn_after_seconds * 1000)
        self._at: int | None = None
        self._looked_at = 0.0

    async def now(self) -> int:
        """Milliseconds. Raises Unavailable."""
        if self._at is None:
            known = await self._store.removal_clock()
            if known is None:
                known = (await self._store.newest()).event_at
            self._at, self._looked_at = known or now_ms(), time.monotonic()
        elapsed = time.monotonic() - self._looked_at
        self._looked_at += elapsed
        self._at = min(now_ms(), self._at + int(elapsed * 1000 * self.SPEED))
        return self._at

    async def keep(self) -> None:
        at = await self.now()
        await self._store.keep_removal_clock(at)
        behind = now_ms() - at
        if behind > self._warn_after_ms:
            log.warning(
                "the clock is %.1f days ahead of the time known here: until that is made up, an hour removes at most a "
                "day's worth of old tasks. If the clock is wrong, correct it before then.",
                behind / DAY / 1000,
            )


class Tidier:
    def __init__(self, store: Store, retention_days: float, tidy_files: Callable[[float], Awaitable[None]]) -> None:
        self.store = store
        self.kept_seconds = retention_days * DAY
        self.clock = RemovalClock(store.clock, max(self.kept_seconds / 4, 3600.0))
        self.tidy_files = tidy_files
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Concurrently, so that neither a history of hours nor a flood of callbacks delays the other."""
        parts = {"tasks": self.old_tasks, "leftovers": self.leftovers}
        self._loops = [asyncio.create_task(self._run(part), name=f"tidy {name}") for name, part in parts.items()]

    async def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def _run(self, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except CallbridgeError as error:
                log.warning("old rows are not removed yet: %s", error.detail)
            await asyncio.sleep(min(ROUND, self.kept_seconds / 4 + 1))

    async def old_tasks(self) -> None:
        """One pass over all old tasks, and over their pictures."""
        retention = self.store.retention
        after: str | None = ""
        while after is not None:
            after = await self._gently(retention.remove_tasks(await self._before(), after, retention.step))
        behind = (now_ms() - await self.clock.now()) / 1000
        await self.tidy_files(self.kept_seconds + behind)
        await self.clock.keep()

    async def leftovers(self) -> None:
        retention, removed = self.store.retention, 1
        while removed:
            keys_before = await self.clock.now() - KEYS_KEPT_MS
            step = retention.remove_leftovers(await self._before(), keys_before, retention.step)
            removed = await self._gently(step)

    async def _before(self) -> int:
        return await self.clock.now() - int(self.kept_seconds * 1000)

    async def _gently(self, step: Awaitable[T]) -> T:
        started = time.monotonic()
        found = await step
        await asyncio.sleep(min(REST * (time.monotonic() - started), LONGEST_REST))
        return found
