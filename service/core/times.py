"""Times are integer milliseconds since 1970 in UTC inside, ISO 8601 with milliseconds and `Z` outside."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache


class Clock:
    """The machine's clock, which may be set at any moment; a step ahead is followed at once, a step back is not.

    Otherwise whatever is stored as due would wait for moments that were already there. `workers/clock.py` moves what is
    stored and then lets the clock `follow`.
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
        """By how much the machine's clock was set back, at least. To be asked every second or so."""
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
        """The time by the monotonic clock, from the last moment at which both agreed."""
        return self._monotonic() + self._offset


clock = Clock()
now_ms = clock.now_ms


# One change of a task shows the same few moments many times.
@lru_cache(maxsize=4096)
def to_iso(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def from_iso(text: str) -> int:
    """Milliseconds of an ISO 8601 time; a time without zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
