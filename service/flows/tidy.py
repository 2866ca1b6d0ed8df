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
REST, LONGEST_REST = 20, 0.2
ROUND = 600.0


class Tidier:
    def __init__(self, store: Store, retention_days: float, tidy_files: Callable[[float], None]) -> None:
        self.store = store
        self.kept_seconds = retention_days * DAY
        self.tidy_files = tidy_files
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="tidy")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except CallbridgeError as error:
                log.warning("old tasks stay for now: %s", error.detail)
            except OSError as error:
                log.warning("old pictures stay for now: %s", error.strerror)
            await asyncio.sleep(min(ROUND, self.kept_seconds / 4 + 1))

    async def round(self) -> None:
        now = now_ms()
        before, keys_before = now - int(self.kept_seconds * 1000), now - KEYS_KEPT_MS
        after: str | None = ""
        rest = 1
        # By turns: a history that takes hours to remove must not keep the rest waiting.
        while after is not None or rest:
            if after is not None:
                after = await self._gently(self.store.remove_tasks(before, after, STEP))
            if rest:
                rest = await self._gently(self.store.remove_rest(before, keys_before, STEP))
        await asyncio.to_thread(self.tidy_files, self.kept_seconds)

    async def _gently(self, step: Awaitable[T]) -> T:
        started = time.monotonic()
        found = await step
        await asyncio.sleep(min(REST * (time.monotonic() - started), LONGEST_REST))
        return found
