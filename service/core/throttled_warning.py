"""Log what strangers can trigger as one line with a count now and then, not one line each."""

import logging
import time


class ThrottledWarning:
    """`message` takes the count as its only argument."""

    def __init__(self, log: logging.Logger, message: str, seconds: float = 60.0) -> None:
        self._log = log
        self._message = message
        self._seconds = seconds
        self._count = 0
        self._last: float | None = None

    def add(self) -> None:
        self._count += 1
        now = time.monotonic()
        if self._last is None or now - self._last >= self._seconds:
            self._log.warning(self._message, self._count)
            self._count, self._last = 0, now
