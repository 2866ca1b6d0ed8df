"""Outlets: how one delivery leaves."""

from typing import Protocol

from msgspec import Struct

from service.core.delivery import BUSY, LONGEST_RETRY_AFTER, Attempt, Delivery


class Outcome(Struct, frozen=True):
    """How one attempt went; `retry_after` in seconds when the receiver asked for a pause."""

    attempt: Attempt
    retry_after: float | None = None

    @property
    def rest(self) -> float:
        """Seconds during which the receiver wants nothing at all."""
        if self.retry_after is None or self.attempt.status_code not in BUSY:
            return 0.0
        return min(self.retry_after, LONGEST_RETRY_AFTER)


class Endpoint(Struct, frozen=True):
    """Where an attempt goes. Secrets are the newest first; all of them sign. `headers` are names and values."""

    url: str
    secrets: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()


class Outlet(Protocol):
    async def post(self, delivery: Delivery, endpoint: Endpoint) -> Outcome:
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
        """Somebody asks for what is due there now; ends a rest that the receiver asked for."""
        ...

    async def ping(self, delivery: Delivery) -> Delivery:
        """One attempt now, which is not tried again; how it went is stored. Raises RateLimited."""
        ...

    def bury_if_removed(self, lane: str) -> None: ...
