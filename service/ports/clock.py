"""What a store must do for a clock that may be set at any moment."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Newest:
    """`event_at`: when the last event was told (ms), None without events. `ids`: the last one of each kind."""

    event_at: int | None
    ids: tuple[str, ...]


class ClockStore(Protocol):
    async def newest(self) -> Newest: ...

    async def set_back(self, before: int, after: int) -> None:
        """The clock went from `before` back to `after` (ms): whatever is due after that is due so much earlier.

        Also keeps that the times of events go back after the last one, so that a time still leads to the first event.
        """
        ...

    async def removal_clock(self) -> int | None:
        """What was last given to `keep_removal_clock`."""
        ...

    async def keep_removal_clock(self, at: int) -> None: ...
