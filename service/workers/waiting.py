"""What a lane waits for may be a place, its turn to claim, or the store: each of them pumps it again."""

from typing import Protocol


class WaitingLane(Protocol):
    def pump(self) -> None:
        """Start what may start now."""
        ...
