"""A delivery: one event for one recipient, tried until it is delivered or dead."""

from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from service.core.times import to_iso

KEPT_ATTEMPTS = 20
LONGEST_RETRY_AFTER = 24 * 3600.0
JITTER = 0.2
GONE = 410
SUCCESSES = frozenset(range(200, 300))
# With Retry-After, these pause all deliveries to the receiver.
BUSY = (429, 503)


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Attempt(Struct, frozen=True):
    """One attempt. `status_code` None: there was no response, `error` says why. `response` is at most 1 KiB."""

    at: int
    status_code: int | None
    error: str | None
    duration_ms: int
    response: str | None = None
    # Where it was sent: the address of a subscription may change between attempts.
    url: str = ""

    @property
    def succeeded(self) -> bool:
        return self.status_code in SUCCESSES

    def document(self) -> dict[str, Any]:
        return {
            "at": to_iso(self.at),
            "url": self.url,
            "status_code": self.status_code,
            "error": self.error,
            "duration_ms": self.duration_ms,
            "response": self.response,
        }


class Delivery(Struct, frozen=True):
    n: int
    lane: str
    subscription_id: str | None
    owner: str
    seq: int
    event_id: str
    event_type: str
    task_id: str | None
    url: str
    body: bytes
    status: DeliveryStatus = DeliveryStatus.PENDING
    # Attempts since the last manual retry; `attempts` keeps the last twenty, as documents.
    tries: int = 0
    attempts: tuple[dict[str, Any], ...] = ()
    next_attempt_at: int | None = None
    # The worker that has claimed it; 0 for none.
    worker: int = 0

    @property
    def id(self) -> str:
        return delivery_id(self.n)

    def after(self, attempt: Attempt, next_attempt_at: int | None) -> "Delivery":
        """With one more attempt; `next_attempt_at` None means it was the last."""
        if attempt.succeeded:
            status = DeliveryStatus.DELIVERED
        else:
            status = DeliveryStatus.PENDING if next_attempt_at is not None else DeliveryStatus.DEAD
        return replace(
            self,
            status=status,
            tries=self.tries + 1,
            attempts=(*self.attempts, attempt.document())[-KEPT_ATTEMPTS:],
            next_attempt_at=next_attempt_at,
        )

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "event_id": self.event_id,
            "event_type": self.event_type,
            "task_id": self.task_id,
            "subscription_id": self.subscription_id,
            "url": self.url,
            "status": str(self.status),
            "attempts": self.attempts,
            "next_attempt_at": None if self.next_attempt_at is None else to_iso(self.next_attempt_at),
        }


def delivery_id(n: int) -> str:
    return f"dlv_{n:016x}"


def delivery_number(public_id: str) -> int | None:
    """None when it is not a delivery id."""
    digits = public_id.removeprefix("dlv_")
    if len(digits) != 16 or digits == public_id or not all(c in "0123456789abcdef" for c in digits):
        return None
    n = int(digits, 16)
    return n if n < 1 << 63 else None


def wait_before_next(schedule: tuple[float, ...], tries: int, retry_after: float | None, chance: float) -> float | None:
    """Seconds until the next attempt after `tries` failed ones, or None when the schedule is exhausted.

    `chance` is a random number in [0, 1). `Retry-After` only extends the wait, up to 24 h.
    """
    if tries > len(schedule):
        return None
    wait = schedule[tries - 1] * (1 + JITTER * (2 * chance - 1))
    if retry_after is not None:
        wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER))
    return wait


def after_attempt(
    delivery: Delivery,
    attempt: Attempt,
    retry_after: float | None,
    schedule: tuple[float, ...],
    now: int,
    chance: float,
) -> Delivery:
    """The delivery after an attempt: delivered, dead, or with the time of the next attempt."""
    if attempt.succeeded or attempt.status_code == GONE:
        return delivery.after(attempt, None)
    wait = wait_before_next(schedule, delivery.tries + 1, retry_after, chance)
    return delivery.after(attempt, None if wait is None else now + int(wait * 1000))
