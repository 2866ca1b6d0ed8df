"""Figures for /metrics from SQLite. Only one process serves, so there are no other counts to add."""

from collections import Counter
from collections.abc import Callable, Sequence

from service.core.subscription import LANE_OF_URL
from service.ports.metrics import OpenWork
from service.store.sqlite.copies import counts_of
from service.store.sqlite.database import SqliteDatabase

# Along the partial indexes of open tasks, so that a long history costs nothing. Queued ones, however many, are counted
# without reading their rows; those that were sent are few.
WAITING = "SELECT provider, count(*) FROM tasks WHERE status = 'queued' AND sent_at IS NULL GROUP BY provider"
SENT = (
    "SELECT provider, status, count(*) FROM tasks INDEXED BY tasks_open"
    " WHERE finished_at IS NULL AND sent_at IS NOT NULL GROUP BY provider, status"
)
LANES = (
    "SELECT l.many, CASE WHEN s.enabled OR substr(l.lane, 1, ?) = ? THEN l.oldest END"
    " FROM (SELECT lane, count(*) AS many, min(next_attempt_at) AS oldest FROM deliveries WHERE status = 'pending'"
    " GROUP BY lane) l LEFT JOIN subscriptions s ON s.id = l.lane"
)

DUE = (
    "SELECT DISTINCT lane FROM deliveries INDEXED BY deliveries_queue"
    " WHERE status = 'pending' AND worker = 0 AND next_attempt_at <= ? LIMIT ?"
)


class SqliteMetrics:
    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def open_work(self, now: int) -> OpenWork:
        tasks: Counter[tuple[str, str]] = Counter()
        for provider, many in await self._database.long_rows(WAITING):
            tasks[provider, "queued"] += many
        for provider, status, many in await self._database.long_rows(SENT):
            tasks[provider, status] += many
        lanes = await self._database.long_rows(LANES, (len(LANE_OF_URL), LANE_OF_URL))
        due = [oldest for _, oldest in lanes if oldest is not None and oldest <= now]
        return OpenWork(tasks, sum(many for many, _ in lanes), min(due, default=None), await counts_of(self._database))

    async def lanes_due(self, before: int, limit: int) -> list[str]:
        return [lane for (lane,) in await self._database.long_rows(DUE, (before, limit))]

    async def publish(self, worker: int, counts: bytes, streams: int) -> bool:
        return True

    async def fold(self, merge: Callable[[Sequence[bytes]], bytes]) -> None:
        pass

    async def published_by_others(self, worker: int) -> tuple[list[bytes], int]:
        return [], 0
