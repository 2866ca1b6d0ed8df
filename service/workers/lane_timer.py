"""One timer: the earliest of the moments that were set."""

import asyncio
import math
from collections.abc import Callable


class LaneTimer:
    __slots__ = ("_handle", "_on_time", "_when")

    def __init__(self, on_time: Callable[[], None]) -> None:
        self._on_time = on_time
        self._handle: asyncio.TimerHandle | None = None
        self._when = 0.0

    @property
    def pending(self) -> bool:
        return self._handle is not None

    def set(self, when: float) -> None:
        """`when` is a moment of the event loop's clock; infinity clears the timer."""
        if self._handle is not None:
            if self._when <= when:
                return
            self._handle.cancel()
        if when == math.inf:
            self._handle = None
            return
        self._when = when
        self._handle = asyncio.get_running_loop().call_at(when, self._fire)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._on_time()
