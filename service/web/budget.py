"""Memory that requests share: bounded in all and for each caller, so that one caller's excess is its own."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from service.core.errors import Unavailable

PATIENCE = 8.0
# What is read of a body before its turn: the socket's reads are of this size.
READ_AHEAD = 256 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    reservation: "Reservation"
    size: int
    admitted: asyncio.Future[None]

    @property
    def read_ahead(self) -> int:
        return min(self.size, READ_AHEAD)


class Budget:
    """`total` and `share` (the part of one caller) are bytes. Who waits may hold as much again in read-ahead."""

    def __init__(self, total: int, share: int) -> None:
        self.total = total
        self.share = share
        self.used = 0
        self._used_by: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._read_ahead: Counter[str] = Counter()

    def reserve(self, caller: str) -> "Reservation":
        return Reservation(self, caller)

    def fits(self, caller: str, held: int, size: int) -> bool:
        """May a reservation of `held` bytes become one of `size`? What is larger than the budget passes alone."""
        others, mine = self.used - held, self._used_by[caller] - held
        return (others == 0 or others + size <= self.total) and (mine == 0 or mine + size <= self.share)

    async def grow(self, reservation: "Reservation", size: int) -> None:
        """Waits behind the caller's earlier requests. Raises Unavailable."""
        if reservation.caller not in self._waiting and self.fits(reservation.caller, reservation.size, size):
            reservation.resize(size)
            return
        waiter = _Waiter(reservation, size, asyncio.get_running_loop().create_future())
        self._enqueue(waiter)
        try:
            async with asyncio.timeout(PATIENCE):
                await waiter.admitted
        except TimeoutError:
            raise _busy() from None
        finally:
            if waiter.admitted.cancelled() and waiter in self._waiting.get(reservation.caller, ()):
                self._dequeue(waiter)
                self._admit()

    def change(self, caller: str, size: int) -> None:
        self.used += size
        self._used_by[caller] += size
        if not self._used_by[caller]:
            del self._used_by[caller]
        if size < 0 and self._waiting:
            self._admit()

    def _enqueue(self, waiter: _Waiter) -> None:
        caller, more = waiter.reservation.caller, waiter.read_ahead
        mine, all_of_them = self._read_ahead[caller], self._read_ahead.total()
        if mine and (mine + more > self.share or all_of_them + more > self.total):
            raise _busy()
        self._read_ahead[caller] += more
        queue = self._waiting.setdefault(caller, deque())
        # What holds a part already goes first: those behind it may be waiting for just that part.
        (queue.appendleft if waiter.reservation.size else queue.append)(waiter)
        self._admit()

    def _dequeue(self, waiter: _Waiter) -> None:
        caller = waiter.reservation.caller
        self._waiting[caller].remove(waiter)
        self._read_ahead[caller] -= waiter.read_ahead
        if not self._waiting[caller]:
            del self._waiting[caller], self._read_ahead[caller]

    def _admit(self) -> None:
        """Those whose turn it is, as far as there is room; callers that were served go behind the others."""
        for caller in list(self._waiting):
            while caller in self._waiting and self._admit_first(self._waiting[caller][0]):
                if caller in self._waiting:
                    self._waiting[caller] = self._waiting.pop(caller)

    def _admit_first(self, waiter: _Waiter) -> bool:
        if waiter.admitted.cancelled():
            self._dequeue(waiter)
            return True
        if not self.fits(waiter.reservation.caller, waiter.reservation.size, waiter.size):
            return False
        self._dequeue(waiter)
        waiter.reservation.resize(waiter.size)
        waiter.admitted.set_result(None)
        return True


def _busy() -> Unavailable:
    return Unavailable("Too many large requests are being served at the moment; try again.", retry_after=5)


class Reservation:
    """A part of a budget, given back at the end of the `with` block. Nothing is taken before `grow`."""

    __slots__ = ("budget", "caller", "size")

    def __init__(self, budget: Budget, caller: str) -> None:
        self.budget = budget
        self.caller = caller
        self.size = 0

    async def grow(self, size: int) -> None:
        """To `size` bytes; waits for its turn. Raises Unavailable."""
        await self.budget.grow(self, size)

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
