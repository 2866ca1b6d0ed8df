"""What callers ask of the store, and its pages of rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class Rows(list[T]):
    """The rows of one page; `more`: the page was cut by the limit or `max_bytes`, and there are further rows."""

    more = False


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """`max_bytes`: the page ends with the row that takes its stored bytes past this, whatever the limit."""

    owner: str | None
    status: str | None = None
    provider: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    before: str | None = None
    limit: int = 50
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class EventQuery:
    """`after` and `up_to` bound the seq: after < seq <= up_to. `max_bytes` as in TaskQuery."""

    owner: str | None
    after: int = 0
    up_to: int | None = None
    types: tuple[str, ...] | None = None
    task_id: str | None = None
    limit: int = 100
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    owner: str | None
    subscription_id: str | None = None
    task_id: str | None = None
    status: str | None = None
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Idempotency:
    """`fingerprint` is a hash of the body: the same key with a different body is refused."""

    key: str
    fingerprint: bytes
