"""Times, durations and counts for people to read."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def ago(moment: int, now: int) -> str:
    """`moment` and `now` in milliseconds; a future moment reads `in 5 min`."""
    seconds = (now - moment) / 1000
    if abs(seconds) < 5:
        return "just now" if seconds >= 0 else "now"
    size = abs(seconds)
    text = f"{int(size)} s"
    for length, unit in UNITS:
        if size >= length:
            text = f"{int(size // length)} {unit}"
            break
    return f"{text} ago" if seconds > 0 else f"in {text}"


def duration(ms: float | None) -> str:
    if ms is None:
        return "-"
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def exact(ms: int) -> str:
    """Such as `2026-01-31 12:00:00.123 UTC`."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(ms // 1000))}.{ms % 1000:03d} UTC"


def clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M")


def percentile(values: Iterable[float], share: float) -> float | None:
    """By nearest rank; None without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
