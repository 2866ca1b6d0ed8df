"""Workers and lanes on SQLite. One process has the file, so leases are in memory and only numbers on disk."""

from collections.abc import Collection

from service.core.lanes import ALL_GROUPS, GROUPS
from service.core.points import Point
from service.core.times import now_ms
from service.ports.work import Joined, Renewed
from service.store.sqlite.database import LANES, SqliteDatabase


class SqliteWorkers:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self._leases: dict[int, int] = {}
        # The lock on the file means that earlier workers are dead.
        self._ended: set[int] = {worker for (worker,) in database.db.execute("SELECT id FROM workers")}
        self.first = database.first_worker
        self.owners: dict[int, int] = {}

    def has_lease(self, worker: int) -> bool:
        return worker in self._leases

    async def now(self) -> int:
        return now_ms()

    async def join(self, now: int, until: int) -> Joined:
        def work() -> int:
            number = self.database.batch.written().execute("INSERT INTO workers DEFAULT VALUES").lastrowid
            assert number is not None
            return number

        worker = await self.database.write(Point.JOIN, work)
        alone = not any(other > now for other in self._leases.values())
        self._leases[worker] = until
        return Joined(worker, alone)

    async def renew(self, worker: int, until: int) -> Renewed | None:
        if worker not in self._leases:
            return None
        self._leases[worker] = until
        return Renewed(len(self._leases), now_ms(), GROUPS - len(self.owners))

    async def end_expired(self, now: int) -> list[int]:
        over = [worker for worker, until in self._leases.items() if until <= now]
        for worker in over:
            del self._leases[worker]
        self._ended.update(over)
        return sorted(self._ended)

    async def remove(self, worker: int) -> None:
        def work() -> None:
            db = self.database.batch.written()
            if worker >= self.first:
                # Claims of an earlier process are released in SqliteQueue.claim.
                for (lane,) in db.execute(LANES, {"after": "", "limit": -1}).fetchall():
                    db.execute(
                        "UPDATE deliveries SET worker = 0 WHERE status = 'pending' AND lane = ? AND worker = ?",
                        (lane, worker),
                    )
            db.execute("UPDATE copies SET worker = 0 WHERE status = 'pending' AND worker = ?", (worker,))
            db.execute("DELETE FROM workers WHERE id = ?", (worker,))

        await self.database.write(Point.REMOVE_WORKER, work)
        self._leases.pop(worker, None)
        self._ended.discard(worker)
        self.owners = {group: owner for group, owner in self.owners.items() if owner != worker}


class SqliteLanes:
    def __init__(self, workers: SqliteWorkers) -> None:
        self.workers = workers

    async def take(self, worker: int, most: int) -> frozenset[int]:
        owners = self.workers.owners
        own = {group for group, owner in owners.items() if owner == worker}
        if self.workers.has_lease(worker):
            for group in sorted(ALL_GROUPS - owners.keys())[: max(0, most - len(own))]:
                owners[group] = worker
                own.add(group)
        return frozenset(own)

    async def release(self, worker: int, groups: Collection[int]) -> None:
        for group in groups:
            if self.workers.owners.get(group) == worker:
                del self.workers.owners[group]

    async def drain(self) -> None:
        """One process has all lanes and never gives one away."""
