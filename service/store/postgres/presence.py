"""Whose process lives: each holds a lock in its listening session, and the server frees it when the process is gone.

So a killed worker is noticed in seconds, and not only when its lease is over. A worker behind a cut line keeps its lock
until the server notices, and then its lease decides.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from service.store.postgres.connection import OwnConnection
from service.store.postgres.trouble import is_trouble

# The first key of the advisory locks; the second is the worker's number.
CLASS = 0x63616C6C
# Workers without their lock. After a restart of the server that is true of all for a moment.
ABSENT = (
    "SELECT id FROM workers w WHERE present AND NOT ended"
    " AND pg_postmaster_start_time() < clock_timestamp() - interval '10 s' AND NOT EXISTS (SELECT 1 FROM pg_locks l"
    " WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    f" AND l.classid = {CLASS} AND l.objid = w.id::oid AND l.objsubid = 2)"
)
# Shared: the session before may still hold it, if the server has not yet noticed that its connection is gone.
LOCK = "SELECT pg_advisory_lock_shared($1, $2)"
MARK = "UPDATE workers SET present = true WHERE id = $1 AND NOT ended"
# Seconds. A live worker that loses its session takes the lock again as soon as it is connected, which takes a busy
# machine a moment; if all sessions were lost together, well within the second of these.
GONE_AFTER, SETTLED_AFTER = 3.0, 10.0


class Presence:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._workers: set[int] = set()
        self._connection: OwnConnection | None = None
        self._lock = asyncio.Lock()
        # We have been connected for long enough since then that a missing lock means something.
        self._settled_at = 0.0
        self._absent_since: dict[int, float] = {}

    async def connected(self, connection: OwnConnection) -> None:
        """`connection` lives as long as this process or until `disconnected`."""
        self._connection = connection
        await self._announce(self._workers)

    def disconnected(self) -> None:
        self._connection = None
        self._settled_at = self._clock() + SETTLED_AFTER

    async def enter(self, worker: int) -> None:
        self._workers.add(worker)
        await self._announce([worker])

    def forget(self, worker: int) -> None:
        """Its lease was ended; the lock says nothing any more."""
        self._workers.discard(worker)

    async def _announce(self, workers: Iterable[int]) -> None:
        async with self._lock:
            if self._connection is None:
                return
            try:
                for worker in list(workers):
                    await self._connection.fetch(LOCK, CLASS, worker)
                    await self._connection.execute(MARK, worker)
            except Exception as error:
                if not is_trouble(error):
                    raise
                # It is done again with the next line.
                self._connection.terminate()

    # --- the others ---

    def gone(self) -> list[int]:
        """Workers that have been absent for so long that their processes are gone."""
        if self._connection is None or self._clock() < self._settled_at:
            self._absent_since.clear()
        now = self._clock()
        return [worker for worker, since in self._absent_since.items() if now - since >= GONE_AFTER]

    def note_absent(self, workers: Iterable[int]) -> None:
        """All that are absent now."""
        now = self._clock()
        self._absent_since = {worker: self._absent_since.get(worker, now) for worker in workers}
