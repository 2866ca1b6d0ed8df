"""Workers, their leases and lanes on PostgreSQL. The clock of the server decides about leases."""

from collections.abc import Collection

from service.core.points import Point
from service.ports.work import Joined, Renewed
from service.store.postgres.connection import Unit
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.presence import ABSENT, Presence
from service.store.postgres.publish import Publisher

NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
# $2: whose processes were seen to be gone. Numbers with commas between them, since for an array the driver would ask
# each new connection what that is.
END_EXPIRED = (
    f"WITH absent AS ({ABSENT}), gone AS (SELECT id FROM absent WHERE id = ANY(string_to_array($2, ',')::bigint[])),"
    " over AS (UPDATE workers SET ended = true WHERE NOT ended AND (lease_until <= $1 OR id IN (SELECT id FROM gone))"
    " RETURNING id)"
    " SELECT id, false AS absent FROM over UNION SELECT id, false FROM workers WHERE ended"
    " UNION SELECT id, true FROM absent WHERE id NOT IN (SELECT id FROM over) ORDER BY id"
)


async def hold_lease(unit: Unit, worker: int) -> bool:
    """Keeps the lease from being ended during this transaction; False if it was. Also sets `unit.xid`."""
    row = await unit.connection.fetchrow(
        "SELECT pg_current_xact_id()::text AS xid FROM workers WHERE id = $1 AND NOT ended FOR SHARE", worker
    )
    if row is not None:
        unit.xid = row["xid"]
    return row is not None


class PostgresWorkers:
    def __init__(self, database: PostgresDatabase, presence: Presence) -> None:
        self.database = database
        self.presence = presence

    async def now(self) -> int:
        return int((await self.database.rows(f"SELECT {NOW}"))[0][0])

    async def join(self, now: int, until: int) -> Joined:
        rows = await self.database.write(
            Point.JOIN,
            "INSERT INTO workers (lease_until) VALUES ($2) RETURNING id,"
            f" NOT EXISTS (SELECT 1 FROM workers WHERE NOT ended AND lease_until > $1 AND id NOT IN ({ABSENT}))",
            now,
            until,
        )
        joined = Joined(*rows[0])
        await self.presence.enter(joined.worker)
        return joined

    async def renew(self, worker: int, until: int) -> Renewed | None:
        rows = await self.database.rows(
            "WITH renewed AS (UPDATE workers SET lease_until = $2 WHERE id = $1 AND NOT ended RETURNING id)"
            f" SELECT (SELECT count(*) FROM workers WHERE NOT ended), {NOW},"
            " (SELECT count(*) FROM lane_groups WHERE worker = 0) FROM renewed",
            worker,
            until,
        )
        if not rows:
            self.presence.forget(worker)
            return None
        return Renewed(*rows[0])

    async def end_expired(self, now: int) -> list[int]:
        rows = await self.database.rows(END_EXPIRED, now, ",".join(map(str, self.presence.gone())))
        self.presence.note_absent(row["id"] for row in rows if row["absent"])
        return [row["id"] for row in rows if not row["absent"]]

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
    def __init__(self, database: PostgresDatabase, publisher: Publisher) -> None:
        self.database = database
        self.publisher = publisher

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

    async def drain(self) -> None:
        await self.publisher.drain()
