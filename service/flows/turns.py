"""Fair reads: only a few requests of one caller run at once, so that others do not wait behind them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE = 4


class Turns:
    def __init__(self) -> None:
        self._of: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def take(self, caller: str) -> AsyncIterator[None]:
        """Hold one of the caller's turns."""
        turns = self._of.get(caller)
        if turns is None:
            turns = self._of[caller] = asyncio.Semaphore(AT_ONCE)
        async with turns:
            yield
