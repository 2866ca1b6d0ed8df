"""Memory that requests share: bounded in all and for each caller, so that one caller's excess is its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.core.errors import Unavailable


@dataclass(slots=True)
class Held:
    """A part of the budget, until the block ends."""

    budget: "Budget"
    caller: str
    size: int

    def resize(self, size: int) -> None:
        """Once the true size is known. Growing never waits: the memory is in use already."""
        self.budget.change(self.caller, size - self.size)
        self.size = size


class Budget:
    """`total` and `share` (of one caller) in bytes. Who waits longer than `patience` seconds gets Unavailable."""

    def __init__(self, total: int, share: int, patience: float) -> None:
        self.total = total
        self.share = share
        self.patience = patience
        self.used = 0
        self._used_by: Counter[str] = Counter()
        self._freed: asyncio.Event | None = None

    @asynccontextmanager
    async def hold(self, caller: str, size: int) -> AsyncIterator[Held]:
        """Raises Unavailable. What is larger than the budget passes alone."""
        if not self._fits(caller, size):
            try:
                async with asyncio.timeout(self.patience):
                    while not self._fits(caller, size):
                        self._freed = self._freed or asyncio.Event()
                        await self._freed.wait()
            except TimeoutError:
                raise Unavailable("Too many large requests are being served; try again.", retry_after=5) from None
        self.change(caller, size)
        held = Held(self, caller, size)
        try:
            yield held
        finally:
            self.change(caller, -held.size)

    def _fits(self, caller: str, size: int) -> bool:
        mine = self._used_by[caller]
        return (self.used == 0 or self.used + size <= self.total) and (mine == 0 or mine + size <= self.share)

    def change(self, caller: str, size: int) -> None:
        self.used += size
        self._used_by[caller] += size
        if not self._used_by[caller]:
            del self._used_by[caller]
        if size < 0 and self._freed is not None:
            self._freed.set()
            self._freed = None
