"""What is measured in the database itself, and how processes add up their counts."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from service.core.copies import CopyCounts


class OpenWork(NamedTuple):
    """`tasks`: open ones by provider and status. `oldest_due_at`: since when the oldest delivery is due (ms), leaving
    out disabled subscriptions; None when none is due. `copies`: files that are not copied yet."""

    tasks: Mapping[tuple[str, str], int]
    deliveries_pending: int
    oldest_due_at: int | None
    copies: CopyCounts


class MetricsStore(Protocol):
    async def open_work(self, now: int) -> OpenWork: ...

    async def lanes_due(self, before: int, limit: int) -> list[str]:
        """Lanes with an unclaimed delivery that was due before `before` (ms)."""
        ...

    async def publish(self, worker: int, counts: bytes, streams: int) -> bool:
        """Replaces what this worker published before. False: its lease was ended, and what it published last stays."""
        ...

    async def fold(self, merge: Callable[[Sequence[bytes]], bytes]) -> None:
        """Make one of the counts of all workers that are gone."""
        ...

    async def published_by_others(self, worker: int) -> tuple[list[bytes], int]:
        """The counts of every other worker there ever was, and the streams of those alive."""
        ...
