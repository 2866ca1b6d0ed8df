"""Identifiers that sort by creation, also within a millisecond and after the clock was set back."""

import random
import time


class IdMaker:
    """`prefix_` + 12 hex digits of milliseconds + 4 of a counter + 16 random ones.

    The random part keeps the ids of several processes apart; it is not a secret, so a fast generator will do.
    """

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311
        self._last = 0
        self._count = 0

    def __call__(self, prefix: str) -> str:
        moment = max(time.time_ns() // 1_000_000, self._last)
        if moment > self._last:
            self._last, self._count = moment, 0
        else:
            self._count += 1
            if self._count > 0xFFFF:
                self._last, self._count = moment + 1, 0
        return f"{prefix}_{self._last:012x}{self._count:04x}{self._random.getrandbits(64):016x}"

    def continue_after(self, known: str) -> None:
        """Make later ids sort above this one, which may be from a time when the clock was ahead."""
        try:
            moment = int(known.partition("_")[2][:12], 16)
        except ValueError:
            return
        if moment >= self._last:
            self._last, self._count = moment, 0xFFFF


new_id = IdMaker()


def moment_of(made_id: str) -> int:
    """When an id was created, in milliseconds. All prefixes have three letters."""
    return int(made_id[4:16], 16)
