"""Queued tasks on SQLite: counted and claimed in one transaction."""

from collections.abc import Iterator

from service.core.points import Point
from service.core.task import Task
from service.core.transitions import claimed
from service.ports.work import EVERY_TYPE, TaskTypes
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.rows import task_from_row
from service.store.sqlite.task_search import OPEN
from service.store.sqlite.tasks import write_steps
from service.store.sqlite.unreadable import claimable, readable
from service.store.sqlite.workers import SqliteWorkers

WAITING = "status = 'queued' AND sent_at IS NULL"
OWNERS = (
    "WITH RECURSIVE found(owner) AS ("
    f" SELECT min(owner) FROM tasks WHERE {WAITING} AND provider = ?1 UNION ALL"
    f" SELECT (SELECT min(owner) FROM tasks WHERE {WAITING} AND provider = ?1"
    " AND owner > found.owner) FROM found WHERE found.owner IS NOT NULL)"
    " SELECT owner FROM found WHERE owner IS NOT NULL"
)
# At most ?2 of each kind are counted. Unconfirmed tasks, few except after an outage, are subtracted as a number,
# because the status is not in that index. Canceled tasks may still run at the provider.
AT_PROVIDER = (
    "WITH unconfirmed(many) AS MATERIALIZED"
    " (SELECT count(*) FROM tasks WHERE provider = ?1 AND status = 'unconfirmed')"
    " SELECT (SELECT count(*) FROM (SELECT 1 FROM tasks"
    f" WHERE {OPEN} AND provider = ?1 LIMIT ?2 + (SELECT many FROM unconfirmed)))"
    " - (SELECT many FROM unconfirmed)"
    " + (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE provider = ?1 AND place_until > ?3 LIMIT ?2))"
)


# Queued tasks of one owner that are considered while some task types are paused.
LOOKED_AT = 5_000


class SqliteSubmits:
    def __init__(self, database: SqliteDatabase, workers: SqliteWorkers) -> None:
        self.database = database
        self.workers = workers
        # The owner whose turn was last, for each provider.
        self._last_owner: dict[str, str] = {}

    async def claim(
        self, worker: int, provider: str, capacity: int, now: int, *, limit: int = 1_000, types: TaskTypes = EVERY_TYPE
    ) -> list[Task]:
        def work() -> list[Task]:
            if not self.workers.has_lease(worker):
                return []
            db = self.database.batch.written()
            [there] = db.execute(AT_PROVIDER, (provider, capacity, now)).fetchone()
            return [
                write_steps(self.database, n, task, [(claimed(task, worker, now), None)])
                for n, task in list(self._in_turn(provider, min(capacity - there, limit), types))
            ]

        return await self.database.write(Point.CLAIM_TASK, work)

    def _in_turn(self, provider: str, room: int, types: TaskTypes) -> Iterator[tuple[int, Task]]:
        """The same share of each owner, so that a large batch of one delays no other."""
        if room <= 0:
            return
        db = self.database.db
        last = self._last_owner.get(provider, "")
        owners = sorted(
            (owner for (owner,) in db.execute(OWNERS, (provider,))), key=lambda owner: (owner <= last, owner)
        )
        taken_up_to = dict.fromkeys(owners, "")
        while owners and room > 0:
            share = max(1, room // len(owners))
            for owner in owners[:room]:
                rows = db.execute(
                    _waiting_of(types),
                    (provider, owner, taken_up_to[owner], *types.names, min(share, room)),
                ).fetchall()
                if rows:
                    taken_up_to[owner] = rows[-1][1]
                    self._last_owner[provider] = owner
                yield from claimable(db, ((n, state) for n, _, state in rows), task_from_row)
                room -= len(rows)
                if len(rows) < share:
                    del taken_up_to[owner]
            owners = [owner for owner in owners if owner in taken_up_to]

    async def waiting(self, provider: str) -> bool:
        return bool(
            await self.database.rows(f"SELECT 1 FROM tasks WHERE {WAITING} AND provider = ? LIMIT 1", (provider,))
        )

    async def held_by(self, worker: int) -> list[Task]:
        # Without the hint SQLite would walk the index of deadlines, over all queued tasks.
        rows = await self.database.rows(
            f"SELECT state FROM tasks INDEXED BY tasks_open WHERE {OPEN}"
            " AND CASE WHEN json_valid(CAST(state AS TEXT)) THEN json_extract(CAST(state AS TEXT), '$.worker') END = ?",
            (worker,),
        )
        return list(readable(rows, task_from_row))


def _waiting_of(types: TaskTypes) -> str:
    """One owner's queued tasks in order. The type is read from each row, so only the first of them are considered."""
    waiting = f"SELECT n, id, state FROM tasks WHERE {WAITING} AND provider = ? AND owner = ? AND id > ? ORDER BY id"
    if types == EVERY_TYPE:
        return f"{waiting} LIMIT ?"
    marks = ", ".join("?" * len(types.names))
    task_type = "CASE WHEN json_valid(CAST(state AS TEXT)) THEN json_extract(CAST(state AS TEXT), '$.task_type') END"
    condition = f"{task_type} {'NOT ' if types.excluded else ''}IN ({marks})"
    return f"SELECT n, id, state FROM ({waiting} LIMIT {LOOKED_AT}) WHERE {condition} LIMIT ?"
