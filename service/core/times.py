"""Times: milliseconds since 1970 (UTC) inside, ISO 8601 with milliseconds and `Z` outside."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache


class Clock:
    """The clock of the machine. When it is set ahead this follows at once; when it is set back this continues steadily.

    Otherwise everything stored as due would wait until that time comes again. `workers/clock.py` moves the stored times
    back, and then lets this clock `follow`.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.wall, self._monotonic = wall, monotonic
        self._last = 0
        self.follow()

    def now_ms(self) -> int:
        wall = self.wall()
        if wall < self._last:
            wall = max(self._last, self._steady())
        self._last = wall
        return wall // 1_000_000

    def ahead_ms(self) -> int:
        """By how much the machine's clock was set back, at least. Call it every second or so."""
        ahead = self._steady() - self.wall()
        if ahead <= 0:
            self._anchor()
        return max(ahead, 0) // 1_000_000

    def follow(self) -> None:
        self._last = 0
        self._anchor()

    def _anchor(self) -> None:
        self._offset = self.wall() - self._monotonic()

    def _steady(self) -> int:
        """The time by the monotonic clock, counted from when both clocks last agreed."""
        return self._monotonic() + self._offset


clock = Clock()
now_ms = clock.now_ms


# One change of a task formats the same few times again and again.
@lru_cache(maxsize=4096)
def to_iso(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def from_iso(text: str) -> int:
    """Milliseconds of an ISO 8601 time, UTC without a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
