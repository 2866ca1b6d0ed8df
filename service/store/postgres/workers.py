"""Workers, their leases and lanes on PostgreSQL. Leases are judged by the clock of the server."""

from collections.abc import Collection

from service.core.points import Point
from service.ports.work import Joined, Renewed
from service.store.postgres.connection import Unit
from service.store.postgres.database import PostgresDatabase

NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"


async def hold_lease(unit: Unit, worker: int) -> bool:
    """For the rest of the transaction nobody can end the lease; False: somebody has. Also makes its outcome known."""
    row = await unit.connection.fetchrow(
        "SELECT pg_current_xact_id()::text AS xid FROM workers WHERE id = $1 AND NOT ended FOR SHARE", worker
    )
    if row is not None:
        unit.xid = row["xid"]
    return row is not None


class PostgresWorkers:
    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database

    async def now(self) -> int:
        return int((await self.database.rows(f"SELECT {NOW}"))[0][0])

    async def join(self, now: int, until: int) -> Joined:
        rows = await self.database.write(
            Point.JOIN,
            "INSERT INTO workers (lease_until) VALUES ($2) RETURNING id,"
            " NOT EXISTS (SELECT 1 FROM workers WHERE NOT ended AND lease_until > $1)",
            now,
            until,
        )
        return Joined(*rows[0])

    async def renew(self, worker: int, until: int) -> Renewed | None:
        rows = await self.database.rows(
            "WITH renewed AS (UPDATE workers SET lease_until = $2 WHERE id = $1 AND NOT ended RETURNING id)"
            f" SELECT (SELECT count(*) FROM workers WHERE NOT ended), {NOW},"
            " (SELECT count(*) FROM lane_groups WHERE worker = 0) FROM renewed",
            worker,
            until,
        )
        return Renewed(*rows[0]) if rows else None

    async def end_expired(self, now: int) -> list[int]:
        rows = await self.database.rows(
            "WITH over AS (UPDATE workers SET ended = true WHERE NOT ended AND lease_until <= $1 RETURNING id)"
            " SELECT id FROM over UNION SELECT id FROM workers WHERE ended ORDER BY id",
            now,
        )
        return [row["id"] for row in rows]

    async def remove(self, worker: int) -> None:
        async with self.database.transaction(Point.REMOVE_WORKER) as unit:
            connection = unit.connection
            await connection.execute("UPDATE lane_groups SET worker = 0 WHERE worker = $1", worker)
            await connection.execute(
                "UPDATE deliveries SET worker = 0 WHERE status = 'pending' AND worker > 0 AND worker = $1", worker
            )
            await connection.execute(
                "UPDATE copies SET worker = 0 WHERE status = 'pending' AND worker > 0 AND worker = $1", worker
            )
            await connection.execute("DELETE FROM workers WHERE id = $1 AND ended", worker)


class PostgresLanes:
    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database

    async def take(self, worker: int, most: int) -> frozenset[int]:
        async with self.database.transaction(Point.JOIN, durable=False) as unit:
            if not await hold_lease(unit, worker):
                return frozenset()
            await unit.connection.execute(
                "UPDATE lane_groups SET worker = $1 WHERE id IN (SELECT id FROM lane_groups WHERE worker = 0"
                " ORDER BY id LIMIT greatest(0, $2 - (SELECT count(*) FROM lane_groups WHERE worker = $1))"
                " FOR UPDATE SKIP LOCKED)",
                worker,
                most,
            )
            rows = await unit.connection.fetch("SELECT id FROM lane_groups WHERE worker = $1", worker)
        return frozenset(row["id"] for row in rows)

    async def release(self, worker: int, groups: Collection[int]) -> None:
        await self.database.rows(
            "UPDATE lane_groups SET worker = 0 WHERE worker = $1 AND id = ANY($2)", worker, list(groups)
        )
