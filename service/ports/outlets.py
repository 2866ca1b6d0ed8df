"""Outlets: how one delivery leaves."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from service.core.delivery import Attempt, Delivery


class Outcome(Struct, frozen=True):
    """How one attempt went; `retry_after` in seconds when the receiver asked for a pause."""

    attempt: Attempt
    retry_after: float | None = None


class Outlet(Protocol):
    async def post(
        self, url: str, event_id: str, body: bytes, secrets: Sequence[str], headers: Mapping[str, str]
    ) -> Outcome:
        """One signed POST. Never raises for what the target does."""
        ...

    def check(self, url: str) -> None:
        """Raise ValueError with a sentence when no delivery may ever go to `url`."""
        ...


class DeliveryWorker(Protocol):
    """What a request may ask of the deliveries that run in the background."""

    @property
    def worker(self) -> int:
        """The number under which this process has deliveries in hand."""
        ...

    def wake(self, lane: str) -> None:
        """Something of this lane may be due."""
        ...

    def post(self, delivery: Delivery) -> Awaitable[Outcome] | None:
        """One attempt now; None when the subscription is gone."""
        ...

    def bury_if_removed(self, lane: str) -> None: ...
