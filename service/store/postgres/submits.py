"""Queued tasks on PostgreSQL: counted and claimed in one transaction, one at a time for each provider."""

from service.core.points import Point
from service.core.task import Task
from service.core.transitions import claimed
from service.ports.work import EVERY_TYPE, TaskTypes
from service.store.postgres.batch import CHANGE_TASKS
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.rows import changed_task, columns, decode_task
from service.store.postgres.task_search import OPEN
from service.store.postgres.workers import hold_lease

WAITING = "status = 'queued' AND sent_at IS NULL"
CLAIM_STORED = (
    "SELECT EXISTS (SELECT 1 FROM tasks WHERE id = $1 AND convert_from(state, 'UTF8')::json ->> 'worker' = $2)"
)
LOCK = "SELECT pg_advisory_xact_lock(hashtext('callbridge submits'), hashtext($1))"
OWNERS = (
    "WITH RECURSIVE owners(owner) AS ("
    f"(SELECT owner FROM tasks WHERE {WAITING} AND provider = $1 ORDER BY owner LIMIT 1) UNION ALL"
    f" SELECT (SELECT owner FROM tasks WHERE {WAITING} AND provider = $1 AND owner > owners.owner"
    " ORDER BY owner LIMIT 1) FROM owners WHERE owners.owner IS NOT NULL)"
)
# As many of each owner as there is room for, and of those the first of every owner, then the second, and so on.
CLAIM = (
    f"{OWNERS}, there AS (SELECT (SELECT count(*) FROM tasks WHERE {OPEN} AND provider = $1"
    " AND status <> 'unconfirmed') + (SELECT count(*) FROM tasks WHERE provider = $1 AND place_until > $3) AS many)"
    " SELECT t.id, t.owner, t.state FROM owners CROSS JOIN LATERAL"
    " (SELECT id, owner, state, row_number() OVER (ORDER BY id) AS turn FROM tasks"
    f" WHERE {WAITING} AND provider = $1 AND owner = owners.owner ORDER BY id"
    " LIMIT (SELECT greatest(0, least($2 - many, $5)) FROM there)) t"
    " ORDER BY t.turn, owners.owner <= $4, owners.owner LIMIT (SELECT greatest(0, least($2 - many, $5)) FROM there)"
)
# While some task types are paused: the type is read from each row, so only so many tasks of an owner are considered.
LOOKED_AT = 5_000
TYPED = (
    f" FROM (SELECT id, owner, state FROM tasks WHERE {WAITING} AND provider = $1 AND owner = owners.owner"
    f" ORDER BY id LIMIT {LOOKED_AT}) first WHERE convert_from(state, 'UTF8')::json ->> 'task_type' "
)


def claim_of(types: TaskTypes) -> str:
    if types == EVERY_TYPE:
        return CLAIM
    every = f" FROM tasks WHERE {WAITING} AND provider = $1 AND owner = owners.owner"
    head, tail = CLAIM.split(every)
    return f"{head}{TYPED}{'<> ALL' if types.excluded else '= ANY'}($6){tail}"


class PostgresSubmits:
    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database
        # The owner whose turn was last, for each provider.
        self._last_owner: dict[str, str] = {}

    async def claim(
        self, worker: int, provider: str, capacity: int, now: int, *, limit: int = 1_000, types: TaskTypes = EVERY_TYPE
    ) -> list[Task]:
        async with self.database.transaction(Point.CLAIM_TASK) as unit:
            connection = unit.connection
            # The next statement then sees, and counts, what another process has just claimed.
            await connection.execute(LOCK, provider)
            if not await hold_lease(unit, worker):
                return []
            last = self._last_owner.get(provider, "")
            names = [] if types == EVERY_TYPE else [sorted(types.names)]
            found = await connection.fetch(claim_of(types), provider, capacity, now, last, limit, *names)
            # A task may have been canceled since, so lock its row and check again.
            rows = await connection.fetch(
                f"SELECT id, state FROM tasks WHERE id = ANY($1) AND {WAITING} ORDER BY id FOR UPDATE",
                [row["id"] for row in found],
            )
            states = {row["id"]: row["state"] for row in rows}
            tasks = [claimed(decode_task(states[row["id"]]), worker, now) for row in found if row["id"] in states]
            if tasks:
                unit.proof = CLAIM_STORED, tasks[0].id, str(worker)
                await connection.execute(CHANGE_TASKS, *columns([changed_task(task) for task in tasks]))
        if found:
            self._last_owner[provider] = found[-1]["owner"]
        return tasks

    async def waiting(self, provider: str) -> bool:
        return bool(
            await self.database.rows(f"SELECT 1 FROM tasks WHERE {WAITING} AND provider = $1 LIMIT 1", provider)
        )

    async def held_by(self, worker: int) -> list[Task]:
        # Few tasks are at a provider at any time, so there is no index by worker.
        rows = await self.database.rows(f"SELECT state FROM tasks WHERE {OPEN} ORDER BY id")
        return [task for task in (decode_task(row["state"]) for row in rows) if task.worker == worker]
