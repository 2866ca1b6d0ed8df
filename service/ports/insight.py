"""Counts for the pages: reads only, each bounded in rows however long the history is."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from service.core.delivery import Delivery


class HourCount(NamedTuple):
    """How many tasks created in the hour that starts at `hour` (ms) are in `status` now."""

    hour: int
    status: str
    tasks: int


class ModelTime(NamedTuple):
    """`ms` from a task's submit to its result."""

    model: str
    ms: int


class InsightStore(Protocol):
    """`owner` None counts those of all owners. `since` is in milliseconds."""

    async def tasks_by_hour(self, owner: str | None, since: int) -> list[HourCount]: ...

    async def times_to_result(self, owner: str | None, since: int) -> list[ModelTime]:
        """Of the newest tasks, those that completed, newest first."""
        ...

    async def times_of_model(self, owner: str, model: str) -> list[int]:
        """Milliseconds of the last hundred tasks that completed."""
        ...

    async def deliveries_by_status(self, subscription_ids: Sequence[str], since: int) -> dict[str, dict[str, int]]:
        """By subscription, then by status; subscriptions without deliveries are absent."""
        ...

    async def dead_deliveries(self, owner: str | None, limit: int, before: int | None = None) -> list[Delivery]:
        """Newest first, with numbers below `before`."""
        ...

    async def dead_with_a_receiver(self, owner: str | None, limit: int) -> list[Delivery]:
        """Newest first, without those of removed subscriptions, which cannot be delivered any more."""
        ...
