"""Remove what is older than RETENTION_DAYS, in small steps and with pauses."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.core.errors import CallbridgeError
from service.core.times import now_ms
from service.ports import Store

log = logging.getLogger("callbridge.tidy")
T = TypeVar("T")
DAY = 86_400
KEYS_KEPT_MS = 48 * 3600 * 1000
STEP = 10
# After each step a rest of so many times what the step took, so that callbacks come first, the more so when they are
# many; never so long that removing falls behind for good.
REST, LONGEST_REST = 50, 0.5
ROUND = 600.0


class Tidier:
    def __init__(self, store: Store, retention_days: float, tidy_files: Callable[[float], Awaitable[None]]) -> None:
        self.store = store
        self.kept_seconds = retention_days * DAY
        self.tidy_files = tidy_files
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Side by side: a history that takes hours holds up nothing, nor do calls that come faster than they go."""
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
                log.warning("what is old stays for now: %s", error.detail)
            await asyncio.sleep(min(ROUND, self.kept_seconds / 4 + 1))

    async def old_tasks(self) -> None:
        """Once through all that are old, and their pictures."""
        after: str | None = ""
        while after is not None:
            after = await self._gently(self.store.remove_tasks(self._before(), after, STEP))
        await self.tidy_files(self.kept_seconds)

    async def leftovers(self) -> None:
        while await self._gently(self.store.remove_leftovers(self._before(), now_ms() - KEYS_KEPT_MS, STEP)):
            pass

    def _before(self) -> int:
        return now_ms() - int(self.kept_seconds * 1000)

    async def _gently(self, step: Awaitable[T]) -> T:
        started = time.monotonic()
        found = await step
        await asyncio.sleep(min(REST * (time.monotonic() - started), LONGEST_REST))
        return found
