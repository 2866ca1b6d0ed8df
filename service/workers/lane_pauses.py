"""When nothing is sent to a receiver: it asked for a pause, is gone, or keeps failing."""

import asyncio
import math

from service.core.delivery import GONE
from service.ports.outlets import Outcome

PARALLEL = 8
# After so many failures in a row one attempt at a time, and after so many at this pace: a million deliveries to a dead
# receiver cost the others nothing.
SINGLE_AFTER, SLOW_AFTER = 8, 64
SLOW_GAP = 0.25
UNTIL_DISABLED = 60.0


class LanePauses:
    """Moments are those of the event loop's clock, in seconds."""

    __slots__ = ("_asked_until", "_slow_until", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self._asked_until = self._slow_until = 0.0

    @property
    def parallel(self) -> int:
        """How many attempts may run at once."""
        return 1 if self.failures >= SINGLE_AFTER else PARALLEL

    @property
    def asked(self) -> bool:
        """Whether the receiver asked for a pause that has not ended."""
        return self._asked_until > 0 and self._asked_until > asyncio.get_running_loop().time()

    @property
    def for_ever(self) -> bool:
        return self._asked_until == math.inf

    def until(self) -> float:
        """The moment at which the pause ends; 0 when there is none."""
        if not self._asked_until and not self._slow_until:
            return 0.0
        until = max(self._asked_until, self._slow_until)
        return until if until > asyncio.get_running_loop().time() else 0.0

    def on_start(self) -> None:
        if self.failures >= SLOW_AFTER:
            self._slow_until = asyncio.get_running_loop().time() + SLOW_GAP

    def on_failure(self, outcome: Outcome, *, is_callback_address: bool) -> bool:
        """Whether the receiver is to be left alone from now on."""
        self.failures += 1
        pause = outcome.rest
        if outcome.attempt.status_code == GONE:
            # Until the subscription is disabled, or the deliveries to the callback address are buried.
            pause = math.inf if is_callback_address else UNTIL_DISABLED
        if pause:
            self._asked_until = max(self._asked_until, asyncio.get_running_loop().time() + pause)
        return bool(pause)

    def end(self) -> None:
        self._asked_until = self._slow_until = 0.0
