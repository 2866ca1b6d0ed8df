"""What the pages count: reads only, each bounded in rows whatever the history holds."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from service.core.delivery import Delivery


class HourCount(NamedTuple):
    """How many tasks made in the hour that begins at `hour` (ms) are in `status` now."""

    hour: int
    status: str
    tasks: int


class ModelTime(NamedTuple):
    """Milliseconds from a task's submit to its result."""

    model: str
    ms: int


class InsightStore(Protocol):
    """`owner` None counts everybody's. `since` is in milliseconds."""

    async def tasks_by_hour(self, owner: str | None, since: int) -> list[HourCount]: ...

    async def times_to_result(self, owner: str | None, since: int) -> list[ModelTime]:
        """Of the completed among the newest tasks, newest first."""
        ...

    async def times_of_model(self, owner: str, model: str) -> list[int]:
        """Milliseconds of the last hundred that completed."""
        ...

    async def deliveries_by_status(self, subscription_ids: Sequence[str], since: int) -> dict[str, dict[str, int]]:
        """By subscription, then by status; a subscription without any is absent."""
        ...

    async def dead_deliveries(self, owner: str | None, limit: int, before: int | None = None) -> list[Delivery]:
        """Newest first, those with a number below `before`."""
        ...
