"""When to look in the store again for work that is due."""

from service.core.transitions import Timing
from service.core.update import SOON

SHORTEST_PAUSE = 0.05


def is_due(moment: int | None, timing: Timing) -> bool:
    return moment is not None and moment <= timing.now()


def pause_until(moment: int | None, timing: Timing) -> float:
    """Seconds until `moment` (ms), but no longer than a new task may take to become due.

    What is due but was not claimed belongs to another worker: wait as if nothing were due.
    """
    longest = min(timing.sweep_after / 4, timing.task_deadline / 4, SOON)
    pause = longest if moment is None else (moment - timing.now()) / 1000
    return max(pause if 0 < pause < longest else longest, SHORTEST_PAUSE)
