"""How fast one provider account is asked: faster while many checks are due, slower while it is busy."""

# Requests a second: few enough to leave room for submits, and many to catch up after lost callbacks.
FEWEST, MOST, LEAST = 5.0, 100.0, 0.5
ROUND_SECONDS = 10
# Seconds to pause when the provider is busy and names no time.
BUSY_PAUSE, LONGEST_PAUSE = 5.0, 300.0


class Pace:
    def __init__(self) -> None:
        self.rate = FEWEST
        self._paused_until = 0.0

    @property
    def round(self) -> int:
        """How many tasks to claim at once."""
        return int(self.rate * ROUND_SECONDS)

    def claimed(self, count: int) -> None:
        """A full round means that more checks are due."""
        self.rate = min(self.rate * 1.5, MOST) if count >= self.round else max(self.rate / 1.5, FEWEST)

    def pause_left(self, now: float) -> float:
        return max(0.0, self._paused_until - now)

    def refused(self, retry_after: float | None, now: float) -> None:
        self.rate = max(self.rate / 2, LEAST)
        self._paused_until = max(self._paused_until, now + min(retry_after or BUSY_PAUSE, LONGEST_PAUSE))
