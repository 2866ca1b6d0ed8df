"""Fair reading: of a caller with a thousand requests a few are served at once, so nobody waits behind the rest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE = 4


class Turns:
    def __init__(self) -> None:
        self._of: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def take(self, caller: str) -> AsyncIterator[None]:
        """One of the caller's turns, for the block."""
        turns = self._of.get(caller)
        if turns is None:
            turns = self._of[caller] = asyncio.Semaphore(AT_ONCE)
        async with turns:
            yield
