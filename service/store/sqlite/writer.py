"""The only writer: all changes go through one queue, and whatever waits is committed in one transaction.

The statements run in the event loop (each takes microseconds and needs the interpreter anyway); only COMMIT, which
waits for the disk, runs in a thread. So a batch crosses to the thread once, and the next one gathers while the disk
works. `synchronous=FULL`: a future resolves once its change would survive a power cut.
"""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from service.core.errors import Unavailable
from service.core.points import Point

log = logging.getLogger("callbridge.store")
T = TypeVar("T")

# Larger batches gain nothing, and would block the event loop for longer.
BATCH = 64
# Longest wait of a change before its caller gets a 503: a provider gives up after a few seconds.
PATIENCE = 8.0
# Claims must not time out: the claimed rows would never be processed. Only our own loops wait for them.
CLAIMS = frozenset({Point.CLAIM_TASK, Point.CLAIM_DELIVERIES, Point.CLAIM_COPIES})


@dataclass(slots=True)
class _Job(Generic[T]):
    name: Point
    work: Callable[[], T]
    done: "asyncio.Future[T]"
    queued_at: float


class TransactionHooks(Protocol):
    """The database's part in a transaction."""

    @property
    def steps(self) -> int:
        """Grows with every row that is gathered."""
        ...

    def flush(self) -> object:
        """Write what was gathered."""
        ...

    def committed(self, seconds: float) -> None:
        """After a commit that took so long."""
        ...

    def rolled_back(self) -> None: ...


class SqliteWriter:
    def __init__(
        self, db: sqlite3.Connection, hooks: TransactionHooks, kill_point: Callable[[str], None] | None = None
    ) -> None:
        self.db = db
        self._hooks = hooks
        self._kill_point = kill_point
        self._jobs: deque[_Job[Any]] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "commit")
        self._closing = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="writer")
        self.healthy = True
        # The file is gone: changes are refused, so that nothing is acknowledged and lost.
        self.refusing = False

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    def do(self, name: Point, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Run `work` inside the next transaction; the future resolves after its commit.

        `work` may raise: its own change is undone, the rest of the batch is not. Raises Unavailable when the store
        cannot be written.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if self._closing:
            done.set_exception(Unavailable("The service is stopping; try again in a moment.", retry_after=5))
            return done
        if self.refusing:
            done.set_exception(Unavailable("The store cannot be written at the moment; try again.", retry_after=5))
            return done
        self._jobs.append(_Job(name, work, done, loop.time()))
        self._wake.set()
        return done

    async def close(self) -> None:
        """Write everything that waits, then stop."""
        self._closing = True
        self._wake.set()
        await self._task
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            if not self._jobs:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [self._jobs.popleft() for _ in range(min(BATCH, len(self._jobs)))]
            try:
                await self._write(batch)
            except Exception:
                log.exception("unexpected error in the writer")
                self._roll_back()
                self._fail(batch, Unavailable("The store cannot be written; try again.", retry_after=5))

    async def _write(self, batch: list[_Job[Any]]) -> None:
        try:
            await self._transaction(batch)
        except _JobFailed as failed:
            # One change failed after it had written: undo all of them, then run each on its own.
            self._roll_back()
            self._fail([failed.job], failed.error)
            for job in batch:
                if job is not failed.job and not job.done.done():
                    await self._write([job])
        except sqlite3.Error as error:
            self._roll_back()
            await self._trouble(batch, error)

    async def _transaction(self, batch: list[_Job[Any]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        outcomes: list[tuple[_Job[Any], Any, Exception | None]] = []
        for job in batch:
            before = self.db.total_changes + self._hooks.steps
            try:
                outcomes.append((job, job.work(), None))
            except sqlite3.Error:
                raise
            except Exception as error:
                if self.db.total_changes + self._hooks.steps != before:
                    raise _JobFailed(job, error) from error
                outcomes.append((job, None, error))
        self._hooks.flush()
        self._pass("before", batch)
        started = time.monotonic()
        await self._commit(batch)
        self._pass("after", batch)
        self.healthy = True
        self._hooks.committed(time.monotonic() - started)
        for job, result, fault in outcomes:
            if job.done.done():
                continue
            if fault is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(fault)

    async def _commit(self, batch: list[_Job[Any]]) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(PATIENCE, self._disk_hangs, batch)
        try:
            await loop.run_in_executor(self._thread, self.db.commit)
        finally:
            self._watch.cancel()

    def _disk_hangs(self, batch: list[_Job[Any]]) -> None:
        """The commit may still succeed, but no caller learns that it did, so it is harmless if they try again."""
        if self.healthy:
            log.error("a commit has not returned for %g s: the disk hangs", PATIENCE)
        self.healthy = False
        late = Unavailable("The store does not respond at the moment; try again.", retry_after=5)
        self._fail([job for job in batch if job.name not in CLAIMS], late)
        self._fail(list(self._jobs), late)
        self._jobs.clear()
        self._watch = asyncio.get_running_loop().call_later(1.0, self._disk_hangs, [])

    def _roll_back(self) -> None:
        self._hooks.rolled_back()
        if self.db.in_transaction:
            try:
                self.db.rollback()
            except sqlite3.Error:
                log.exception("rollback failed")

    async def _trouble(self, batch: list[_Job[Any]], error: sqlite3.Error) -> None:
        """Locked by another program, disk full, read-only: retry for a while, then fail. Nothing was stored."""
        if self.healthy:
            log.error("the store cannot be written: %s", error)
        self.healthy = False
        now = asyncio.get_running_loop().time()
        locked = "locked" in str(error) or "busy" in str(error)
        late = [job for job in batch if not locked or self._closing or now - job.queued_at > PATIENCE]
        self._fail(late, Unavailable("The store cannot be written at the moment; try again.", retry_after=5))
        self._jobs.extendleft(job for job in reversed(batch) if not job.done.done())
        await asyncio.sleep(0.02)

    @staticmethod
    def _fail(batch: list[_Job[Any]], error: Exception) -> None:
        for job in batch:
            if not job.done.done():
                job.done.set_exception(error)

    def _pass(self, moment: str, batch: list[_Job[Any]]) -> None:
        if self._kill_point is not None:
            for job in batch:
                self._kill_point(f"{moment}:{job.name}")


class _JobFailed(Exception):
    def __init__(self, job: _Job[Any], error: Exception) -> None:
        super().__init__(str(error))
        self.job = job
        self.error = error
