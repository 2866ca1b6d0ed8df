"""Where event times go back, because the clock was set back: rows of `meta`, the same on every engine."""

import orjson

# Names of rows. A step is [last seq before it, time before, time after]; the latest of them are kept.
STEPS, MOST_STEPS = "clock_steps", 50
REMOVAL_CLOCK = "removal_clock"
MAX_SEQ = (1 << 63) - 1


def last_step(stored: str | None) -> tuple[int, int, int] | None:
    steps = orjson.loads(stored) if stored else []
    return tuple(steps[-1]) if steps else None


def with_step(stored: str | None, seq: int, before: int, after: int) -> str:
    steps = [*(orjson.loads(stored) if stored else []), [seq, before, after]]
    return orjson.dumps(steps[-MOST_STEPS:]).decode()


def search_bounds(stored: str | None, moment: int) -> list[int]:
    """Up to which seqs to search for the last event before `moment`: the lowest result is the right one."""
    steps = orjson.loads(stored) if stored else []
    return [MAX_SEQ, *(seq for seq, before, after in steps if after < moment <= before)]
