"""Figures for /metrics from PostgreSQL, and the shared counts of all processes."""

from collections.abc import Callable, Sequence

from service.core.points import Point
from service.core.subscription import LANE_OF_URL
from service.ports.metrics import OpenWork
from service.store.postgres.copies import counts_of
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.task_search import OPEN

TASKS = (
    "SELECT provider, 'queued' AS status, count(*) FROM tasks WHERE status = 'queued' AND sent_at IS NULL"
    f" GROUP BY provider UNION ALL SELECT provider, status, count(*) FROM tasks WHERE {OPEN} GROUP BY provider, status"
)
LANES = (
    "SELECT l.many, CASE WHEN s.enabled OR starts_with(l.lane, $1) THEN l.oldest END AS oldest"
    " FROM (SELECT lane, count(*) AS many, min(next_attempt_at) AS oldest FROM deliveries WHERE status = 'pending'"
    " GROUP BY lane) l LEFT JOIN subscriptions s ON s.id = l.lane"
)


# No worker has this number: the counts of those that are gone.
OF_THE_GONE = 0


class PostgresMetrics:
    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def open_work(self, now: int) -> OpenWork:
        tasks: dict[tuple[str, str], int] = {}
        for provider, status, many in await self._database.long_rows(TASKS):
            tasks[provider, status] = tasks.get((provider, status), 0) + many
        lanes = await self._database.long_rows(LANES, LANE_OF_URL)
        due = [oldest for _, oldest in lanes if oldest is not None and oldest <= now]
        return OpenWork(tasks, sum(many for many, _ in lanes), min(due, default=None), await counts_of(self._database))

    async def lanes_due(self, before: int, limit: int) -> list[str]:
        rows = await self._database.long_rows(
            "SELECT DISTINCT lane FROM deliveries WHERE status = 'pending' AND worker = 0 AND next_attempt_at <= $1"
            " LIMIT $2",
            before,
            limit,
        )
        return [row["lane"] for row in rows]

    async def publish(self, worker: int, counts: bytes, streams: int) -> bool:
        rows = await self._database.rows(
            "WITH living AS (SELECT id FROM workers WHERE id = $1 AND NOT ended FOR SHARE)"
            " INSERT INTO worker_counts (worker, counts, streams) SELECT id, $2, $3 FROM living"
            " ON CONFLICT (worker) DO UPDATE SET counts = excluded.counts, streams = excluded.streams RETURNING worker",
            worker,
            counts,
            streams,
        )
        return bool(rows)

    async def fold(self, merge: Callable[[Sequence[bytes]], bytes]) -> None:
        async with self._database.transaction(Point.TIDY, durable=False) as unit:
            rows = await unit.connection.fetch(
                "SELECT worker, counts FROM worker_counts c"
                " WHERE NOT EXISTS (SELECT 1 FROM workers w WHERE w.id = c.worker) ORDER BY worker FOR UPDATE"
            )
            if len(rows) > 1:
                merged = merge([row["counts"] for row in rows])
                await unit.connection.execute(
                    "DELETE FROM worker_counts WHERE worker = ANY($1)", [row["worker"] for row in rows]
                )
                await unit.connection.execute(
                    "INSERT INTO worker_counts (worker, counts, streams) VALUES ($1, $2, 0)", OF_THE_GONE, merged
                )

    async def published_by_others(self, worker: int) -> tuple[list[bytes], int]:
        rows = await self._database.rows(
            "SELECT c.counts, CASE WHEN w.id IS NOT NULL AND NOT w.ended THEN c.streams ELSE 0 END AS streams"
            " FROM worker_counts c LEFT JOIN workers w ON w.id = c.worker WHERE c.worker <> $1",
            worker,
        )
        return [row["counts"] for row in rows], sum(row["streams"] for row in rows)
