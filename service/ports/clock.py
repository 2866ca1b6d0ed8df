"""What the store does when the clock of the machine is set."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Newest:
    """`event_at`: the time of the last event (ms), None without events. `ids`: the last id of each kind."""

    event_at: int | None
    ids: tuple[str, ...]


class ClockStore(Protocol):
    async def newest(self) -> Newest: ...

    async def set_back(self, before: int, after: int) -> None:
        """The clock was set back from `before` to `after` (ms): move everything that is due later back with it.

        Also records that event times go back after the last event, so that EventStore.seq_at stays right.
        """
        ...

    async def removal_clock(self) -> int | None:
        """The last value given to `keep_removal_clock`."""
        ...

    async def keep_removal_clock(self, at: int) -> None: ...
