"""Memory that requests share: bounded in all and for each caller, so that one caller's excess is its own."""

import asyncio
from collections import Counter
from types import TracebackType
from typing import Self

from service.core.errors import Unavailable

PATIENCE = 8.0
# More than these do not wait: each of them holds a little, too.
MAX_WAITING = 64


class Budget:
    """`total` and `share` (the part of one caller) are bytes."""

    def __init__(self, total: int, share: int) -> None:
        self.total = total
        self.share = share
        self.used = 0
        self._used_by: Counter[str] = Counter()
        self._waiting = 0
        self._freed = asyncio.Event()

    def lease(self, caller: str) -> "Lease":
        return Lease(self, caller)

    def fits(self, caller: str, held: int, size: int) -> bool:
        """May a lease of `held` bytes become one of `size`? What is larger than the budget passes alone."""
        others, mine = self.used - held, self._used_by[caller] - held
        return (others == 0 or others + size <= self.total) and (mine == 0 or mine + size <= self.share)

    async def wait_until_it_fits(self, caller: str, held: int, size: int) -> None:
        """Raises Unavailable."""
        busy = Unavailable("Too many large requests are being served at the moment; try again.", retry_after=5)
        if self._waiting >= MAX_WAITING:
            raise busy
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                while not self.fits(caller, held, size):
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise busy from None
        finally:
            self._waiting -= 1

    def change(self, caller: str, size: int) -> None:
        self.used += size
        self._used_by[caller] += size
        if not self._used_by[caller]:
            del self._used_by[caller]
        if size < 0:
            self._freed.set()


class Lease:
    """A part of a budget, given back at the end of the `with` block. Nothing is taken before `grow`."""

    __slots__ = ("budget", "caller", "size")

    def __init__(self, budget: Budget, caller: str) -> None:
        self.budget = budget
        self.caller = caller
        self.size = 0

    async def grow(self, size: int) -> None:
        """To `size` bytes; waits for its turn. Raises Unavailable."""
        if not self.budget.fits(self.caller, self.size, size):
            await self.budget.wait_until_it_fits(self.caller, self.size, size)
        self.resize(size)

    def resize(self, size: int) -> None:
        """Without waiting: the memory is in use already, or it was given back."""
        self.budget.change(self.caller, size - self.size)
        self.size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.size:
            self.resize(0)
