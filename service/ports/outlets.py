"""Outlets: how one delivery is sent."""

from typing import Protocol

from msgspec import Struct

from service.core.delivery import BUSY, LONGEST_RETRY_AFTER, Attempt, Delivery


class Outcome(Struct, frozen=True):
    """The result of one attempt; `retry_after` in seconds when the receiver sent it."""

    attempt: Attempt
    retry_after: float | None = None

    @property
    def rest(self) -> float:
        """Seconds during which the receiver wants no requests at all."""
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
        """One signed POST. Never raises for anything that the receiver does."""
        ...

    def check(self, url: str) -> None:
        """Raises ValueError with a sentence when deliveries may never go to `url`."""
        ...


class DeliveryWorker(Protocol):
    """What requests need of the workers that deliver."""

    @property
    def worker(self) -> int:
        """The number under which this process claims deliveries."""
        ...

    def wake(self, lane: str) -> None:
        """Deliver what is due in this lane now, even if the receiver asked for a pause."""
        ...

    async def ping(self, delivery: Delivery) -> Delivery:
        """One attempt now, without retries; its outcome is stored. Raises RateLimited."""
        ...

    def bury_if_removed(self, lane: str) -> None: ...
