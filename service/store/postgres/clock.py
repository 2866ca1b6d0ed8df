"""A clock that was set back, on PostgreSQL: due times move with it, and the seq at which times go back is kept."""

import orjson

from service.core.points import Point
from service.ports.clock import Newest
from service.store.postgres.connection import Connection
from service.store.postgres.database import PostgresDatabase

# A row of `meta`: [last seq before the step, time before, time after] of the last few steps.
STEPS, MOST_STEPS = "clock_steps", 50
REMOVAL_CLOCK = "removal_clock"
BEFORE = "SELECT seq FROM events WHERE at < $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1"
PUT = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
MAX_SEQ = (1 << 63) - 1


class PostgresClock:
    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database

    async def newest(self) -> Newest:
        [row] = await self.database.rows(
            "SELECT (SELECT at FROM events ORDER BY seq DESC LIMIT 1),"
            " (SELECT id FROM events ORDER BY seq DESC LIMIT 1),"
            " (SELECT max(id) FROM tasks), (SELECT max(id) FROM subscriptions)"
        )
        return Newest(row[0], tuple(found for found in row[1:] if found is not None))

    async def set_back(self, before: int, after: int) -> None:
        async with self.database.transaction(Point.CHECK_ALL) as unit:
            connection = unit.connection
            # Two processes may notice it at the same moment: once is enough.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('callbridge clock'))")
            steps = orjson.loads(await _value(connection, STEPS) or b"[]")
            if any(step[1] >= before > after >= step[2] for step in steps[-1:]):
                return
            await connection.execute(
                "UPDATE deliveries SET next_attempt_at = greatest(next_attempt_at - $1::bigint, $2)"
                " WHERE status = 'pending' AND next_attempt_at > $2",
                before - after,
                after,
            )
            await connection.execute(
                "UPDATE tasks SET check_at = greatest(check_at - $1::bigint, $2)"
                " WHERE finished_at IS NULL AND check_at > $2",
                before - after,
                after,
            )
            await connection.execute(
                "UPDATE copies SET next_attempt_at = greatest(next_attempt_at - $1::bigint, $2)"
                " WHERE status = 'pending' AND next_attempt_at > $2",
                before - after,
                after,
            )
            seq = await connection.fetchval("SELECT coalesce(max(seq), 0) FROM events")
            steps = [*steps, [seq, before, after]][-MOST_STEPS:]
            await connection.execute(PUT, STEPS, orjson.dumps(steps).decode())

    async def removal_clock(self) -> int | None:
        async with self.database.connection() as connection:
            found = await _value(connection, REMOVAL_CLOCK)
        return None if found is None else int(found)

    async def keep_removal_clock(self, at: int) -> None:
        await self.database.write(Point.TIDY, PUT, REMOVAL_CLOCK, str(at))


async def seq_at(database: PostgresDatabase, moment: int) -> int:
    """The seq of the last event before `moment`, or of the first such one when the clock was set back since."""
    async with database.connection() as connection:
        found = await _last_before(connection, moment, MAX_SEQ)
        steps = await _value(connection, STEPS)
        for seq, before, after in orjson.loads(steps) if steps else []:
            if after < moment <= before:
                found = min(found, await _last_before(connection, moment, seq))
    return found


async def _last_before(connection: Connection, moment: int, up_to: int) -> int:
    return int(await connection.fetchval(BEFORE, moment, up_to) or 0)


async def _value(connection: Connection, name: str) -> str | None:
    found: str | None = await connection.fetchval("SELECT value FROM meta WHERE name = $1", name)
    return found
