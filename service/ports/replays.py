"""Running replays: stored events that are delivered to one subscription again, a few at a time."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from service.core.event import Event
from service.core.subscription import Subscription


class Replay(Struct, frozen=True):
    """What remains: events of these types with `after` < seq <= `up_to`."""

    subscription_id: str
    after: int
    up_to: int
    types: tuple[str, ...]


class ReplayStore(Protocol):
    async def start(self, replay: Replay) -> None:
        """Raises Conflict while another replay of the subscription runs."""
        ...

    async def open(self) -> list[Replay]: ...

    async def step(
        self, replay: Replay, subscription: Subscription, events: Sequence[Event], after: int, now: int
    ) -> None:
        """Add deliveries of `events` and move the cursor to `after` in one transaction; the replay ends at `up_to`.

        Changes nothing when the cursor has moved meanwhile.
        """
        ...

    async def end(self, subscription_id: str) -> None: ...

    async def count(self, owner: str, replay: Replay) -> int:
        """How many events of the owner it covers."""
        ...
