"""What happens on PostgreSQL when the clock is set back: due times move with it, and the step is recorded."""

from service.core.points import Point
from service.ports.clock import Newest
from service.store.clock_steps import REMOVAL_CLOCK, STEPS, last_step, search_bounds, with_step
from service.store.postgres.connection import Connection
from service.store.postgres.database import PostgresDatabase

BEFORE = "SELECT seq FROM events WHERE at < $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1"
PUT = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


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
            # Several processes may notice it at once; one of them does this.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('callbridge clock'))")
            steps = await _value(connection, STEPS)
            last = last_step(steps)
            if last is not None and last[1] >= before > after >= last[2]:
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
            await connection.execute(PUT, STEPS, with_step(steps, seq, before, after))

    async def removal_clock(self) -> int | None:
        async with self.database.connection() as connection:
            found = await _value(connection, REMOVAL_CLOCK)
        return None if found is None else int(found)

    async def keep_removal_clock(self, at: int) -> None:
        await self.database.write(Point.TIDY, PUT, REMOVAL_CLOCK, str(at))


async def seq_at(database: PostgresDatabase, moment: int) -> int:
    """As EventStore.seq_at. Where the clock was set back, `moment` came twice: the first one counts."""
    async with database.connection() as connection:
        bounds = search_bounds(await _value(connection, STEPS), moment)
        return min([await _last_before(connection, moment, bound) for bound in bounds])


async def _last_before(connection: Connection, moment: int, up_to: int) -> int:
    return int(await connection.fetchval(BEFORE, moment, up_to) or 0)


async def _value(connection: Connection, name: str) -> str | None:
    found: str | None = await connection.fetchval("SELECT value FROM meta WHERE name = $1", name)
    return found
