"""Times as PiAPI writes them: nine digits and Z, and year 1 for what has not happened."""

import time
from datetime import UTC, datetime

ZERO_TIME = "0001-01-01T00:00:00Z"


def now_ns() -> int:
    return time.time_ns()


def go_time(ns: int | None) -> str:
    if ns is None:
        return ZERO_TIME
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
