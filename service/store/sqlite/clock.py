"""What happens on SQLite when the clock is set back: due times move with it, and the step is recorded."""

from typing import Any

from service.core.points import Point
from service.ports.clock import Newest
from service.store.clock_steps import REMOVAL_CLOCK, STEPS, search_bounds, with_step
from service.store.sqlite.database import SqliteDatabase

BEFORE = "SELECT seq FROM events WHERE at < ? AND seq <= ? ORDER BY seq DESC LIMIT 1"


class SqliteClock:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def newest(self) -> Newest:
        [row] = await self.database.rows(
            "SELECT (SELECT at FROM events ORDER BY seq DESC LIMIT 1),"
            " (SELECT id FROM events ORDER BY seq DESC LIMIT 1),"
            " (SELECT max(id) FROM tasks), (SELECT max(id) FROM subscriptions)"
        )
        return Newest(row[0], tuple(found for found in row[1:] if found is not None))

    async def set_back(self, before: int, after: int) -> None:
        def work() -> None:
            db = self.database.batch.written()
            db.execute(
                "UPDATE deliveries SET next_attempt_at = max(next_attempt_at - ?1, ?2)"
                " WHERE status = 'pending' AND next_attempt_at > ?2",
                (before - after, after),
            )
            db.execute(
                "UPDATE tasks SET check_at = max(check_at - ?1, ?2) WHERE finished_at IS NULL AND check_at > ?2",
                (before - after, after),
            )
            db.execute(
                "UPDATE copies SET next_attempt_at = max(next_attempt_at - ?1, ?2)"
                " WHERE status = 'pending' AND next_attempt_at > ?2",
                (before - after, after),
            )
            found = db.execute("SELECT value FROM meta WHERE name = ?", (STEPS,)).fetchone()
            (seq,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
            _put(db, STEPS, with_step(found[0] if found else None, seq, before, after))

        await self.database.write(Point.CHECK_ALL, work)

    async def removal_clock(self) -> int | None:
        found = await _value(self.database, REMOVAL_CLOCK)
        return None if found is None else int(found)

    async def keep_removal_clock(self, at: int) -> None:
        await self.database.write(Point.TIDY, lambda: _put(self.database.batch.written(), REMOVAL_CLOCK, str(at)))


async def seq_at(database: SqliteDatabase, moment: int) -> int:
    """As EventStore.seq_at. Where the clock was set back, `moment` came twice: the first one counts."""
    bounds = search_bounds(await _value(database, STEPS), moment)
    return min([await _last_before(database, moment, bound) for bound in bounds])


async def _last_before(database: SqliteDatabase, moment: int, up_to: int) -> int:
    # Times grow with the seqs except at such steps, so the first row from the end is nearly always the one.
    rows = await database.long_rows(BEFORE, (moment, up_to))
    return int(rows[0][0]) if rows else 0


async def _value(database: SqliteDatabase, name: str) -> str | None:
    rows = await database.rows("SELECT value FROM meta WHERE name = ?", (name,))
    return rows[0][0] if rows else None


def _put(db: Any, name: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))
