"""Check that the store can be written, with one probe for all callers."""

import asyncio
import time
from collections.abc import Awaitable, Callable

SECONDS = 1.0


class SharedProbe:
    """Runs `probe` at most once a second; calls in between get the last result or error."""

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        self._probe = probe
        self._last: asyncio.Future[None] | None = None
        self._started = 0.0

    async def __call__(self) -> None:
        now = time.monotonic()
        if self._last is None or (self._last.done() and now - self._started >= SECONDS):
            self._started = now
            self._last = asyncio.ensure_future(self._probe())
            # The callers may be gone by then, and asyncio warns of errors that nobody retrieves.
            self._last.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._last)
