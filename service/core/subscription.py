"""A subscription: which events of an owner go to which address, signed with which secret."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from msgspec import Struct

from service.core.event import FINISHING_EVENTS, Event
from service.core.task import Task
from service.core.times import to_iso


@dataclass(frozen=True, slots=True)
class Subscription:
    id: str
    owner: str
    url: str
    secret: str = field(repr=False)
    created_at: int
    updated_at: int
    events: tuple[str, ...] = FINISHING_EVENTS
    filter: dict[str, Any] = field(default_factory=dict)
    description: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    # Secrets from before a rotation, each with the time until which it also signs.
    old_secrets: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    enabled: bool = True
    disabled_reason: str | None = None
    failing_since: int | None = None

    def matches(self, task: Task | None) -> bool:
        """Whether the filter admits events of this task. Events without a task match only without a filter."""
        if not self.filter or task is None:
            return not self.filter
        return self._admits(task.provider, task.model, task.task_type, task.metadata)

    def matches_stored(self, event: Event) -> bool:
        """For a stored event: the task as it was then is in its body."""
        if event.type not in self.events:
            return False
        if not self.filter or event.task_id is None:
            return not self.filter
        task = orjson.loads(event.body)["data"]
        return self._admits(task["provider"], task["model"], task["task_type"], task["metadata"])

    def _admits(self, provider: str, model: str, task_type: str, metadata: dict[str, Any]) -> bool:
        for name, value in (("provider", provider), ("model", model), ("task_type", task_type)):
            if name in self.filter and self.filter[name] != value:
                return False
        wanted: dict[str, Any] = self.filter.get("metadata") or {}
        return all(key in metadata and _same(metadata[key], value) for key, value in wanted.items())

    def secrets(self, now: Callable[[], int]) -> tuple[str, ...]:
        """Newest first; old ones sign until they expire."""
        if not self.old_secrets:
            return (self.secret,)
        moment = now()
        return (self.secret, *(secret for secret, until in self.old_secrets if until > moment))

    def document(self) -> dict[str, Any]:
        """Without the secret and the values of `headers`, which are never shown again."""
        return {
            "id": self.id,
            "url": self.url,
            "events": self.events,
            "filter": self.filter,
            "description": self.description,
            "headers": sorted(self.headers),
            "enabled": self.enabled,
            "disabled_reason": self.disabled_reason,
            "failing_since": None if self.failing_since is None else to_iso(self.failing_since),
            "created_at": to_iso(self.created_at),
            "updated_at": to_iso(self.updated_at),
        }


def _same(one: Any, other: Any) -> bool:
    """As in JSON; in Python True equals 1."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)


class Recipient(Struct, frozen=True):
    """Where one event goes. Deliveries of one `lane` share limits, pauses and order."""

    lane: str
    subscription_id: str | None
    url: str


LANE_OF_URL = "url:"


def callback_lane(owner: str, url: str) -> str:
    """Each callback_url has a lane of its own, so that a hanging receiver delays no other."""
    return f"{LANE_OF_URL}{owner}:{url}"
