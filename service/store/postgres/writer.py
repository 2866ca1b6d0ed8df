"""Writes the changes of this process, many in one transaction: those that arrive during a commit go into the next."""

import asyncio
import logging
import math
import time
from collections import deque
from typing import Any, TypeVar

import asyncpg

from service.core.errors import Unavailable
from service.store.cancel import cancel_and_wait
from service.store.postgres.batch import PostgresBatch
from service.store.postgres.connection import OwnConnection, Unit, begin, roll_back
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.job import Change, Job
from service.store.postgres.publish import Outbox, Publisher
from service.store.postgres.trouble import describe, is_conflict, is_trouble

log = logging.getLogger("callbridge.store")
T = TypeVar("T")

BATCH = 128
# The writers of all processes take turns, and changes that arrive while one waits join its transaction. Waiting only
# later, at the lock on the counters, made the batches of two processes a fifth as large, at twice the CPU per callback.
# Changes without an event, such as the outcome of a delivery, wait for no turn.
TURN = "SELECT pg_advisory_xact_lock(hashtext('callbridge writer'))"
# Longest wait of a change before its caller gets a 503.
PATIENCE = 8.0
CONFLICTS = 5
# Seconds for which a failure counts: without work nothing shows that it is over.
FAILURE = 5.0


class PostgresWriter:
    def __init__(self, database: PostgresDatabase, publisher: Publisher) -> None:
        self.database = database
        self.publisher = publisher
        self.observers = publisher.feed.observers
        self._jobs: deque[Job[Any]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._connection: OwnConnection | None = None
        self._failed_at = -math.inf
        self._task = asyncio.create_task(self._run(), name="writer")

    def do(self, job: Job[T]) -> "asyncio.Future[T]":
        """The future resolves after the commit. Raises Unavailable when the database cannot be written."""
        if self._closing:
            job.done.set_exception(Unavailable("The service is stopping; try again in a moment.", retry_after=5))
            return job.done
        self._jobs.append(job)
        self._wake.set()
        return job.done

    def is_failing(self) -> bool:
        """A full disk refuses a task and has room for a small probe."""
        return time.monotonic() - self._failed_at < FAILURE

    async def close(self) -> None:
        """Write what waits, if that is possible, then stop."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task], timeout=PATIENCE)
        await cancel_and_wait(self._task)
        self._disconnect()

    async def _run(self) -> None:
        while True:
            if not self._jobs:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._waiting(BATCH)
            # When it hangs the callers get an error; the transaction may still succeed, but nobody relies on that.
            watch = asyncio.get_running_loop().call_later(PATIENCE, self._give_up, batch)
            try:
                await self._write(batch, gather=True)
            except Exception:
                log.exception("unexpected error in the writer")
                self._fail(batch, Unavailable("The database cannot be written; try again.", retry_after=5))
            finally:
                watch.cancel()

    def _waiting(self, most: int) -> list[Job[Any]]:
        return [self._jobs.popleft() for _ in range(min(most, len(self._jobs)))]

    async def _write(self, jobs: list[Job[Any]], gather: bool = False) -> None:
        """`gather`: all that waits when the transaction has begun is added to `jobs`."""
        try:
            await self._attempt(jobs, gather)
        except Exception as error:
            if is_trouble(error):
                self._disconnect()
                self._failed_at = time.monotonic()
                self._fail(jobs, self.database.unavailable(error))
            elif len(jobs) > 1:
                # One of them cannot be written, so write each on its own.
                for job in jobs:
                    await self._write([job])
            else:
                self._fail(jobs, error)
        else:
            self.database.healthy = True
            self._failed_at = -math.inf

    async def _attempt(self, jobs: list[Job[Any]], gather: bool) -> None:
        for attempt in range(CONFLICTS):
            try:
                await self._transaction(jobs, gather and attempt == 0)
                return
            except asyncpg.PostgresError as error:
                if not is_conflict(error) or attempt == CONFLICTS - 1:
                    raise
                log.debug("repeating a transaction after a conflict: %s", describe(error))

    async def _transaction(self, jobs: list[Job[Any]], gather: bool) -> None:
        unit = Unit(await self._connected())
        turn = any(job.task_id or job.key for job in jobs)
        await begin(unit.connection, then=TURN if turn else "")
        if gather and turn:
            jobs += self._waiting(BATCH - len(jobs))
        try:
            batch = PostgresBatch(unit.connection)
            await batch.lock(
                [job.task_id for job in jobs if job.task_id],
                [job.key for job in jobs if job.key],
                [job.copy for job in jobs if job.copy],
            )
            outcomes = [self._decide(job, batch) for job in jobs]
            await batch.write()
            names = [job.name for job in jobs]
            started = time.monotonic()
            if batch.announcements:
                async with self.publisher.publishing(unit, Outbox(batch.announcements)):
                    await self.database.commit(unit, *names)
            else:
                await self.database.commit(unit, *names)
        except BaseException:
            await roll_back(unit.connection)
            raise
        for on_commit in self.observers.commit:
            on_commit(time.monotonic() - started)
        finished = [task for change in outcomes if isinstance(change, Change) for task in change.finished]
        if finished:
            for on_finish in self.observers.finish:
                on_finish(finished)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.done.done():
                continue
            if isinstance(outcome, Exception):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome.result)

    @staticmethod
    def _decide(job: Job[Any], batch: PostgresBatch) -> "Change[Any] | Exception":
        try:
            change = job.work(batch)
        except Exception as error:
            return error
        batch.put(change.moved, change.added, change.callback, change.outcomes, change.announcements)
        if change.copies or change.ended_copies:
            batch.put_copies(change.copies, change.ended_copies)
        return change

    async def _connected(self) -> OwnConnection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self.database.connect()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _give_up(self, batch: list[Job[Any]]) -> None:
        late = self.database.unavailable(TimeoutError(f"no answer for {PATIENCE:g} s"))
        self._fail(batch, late)
        self._fail(list(self._jobs), late)
        self._jobs.clear()
        # Until it continues, later changes fail within a second.
        self._watch = asyncio.get_running_loop().call_later(1.0, self._give_up_again, batch)

    def _give_up_again(self, batch: list[Job[Any]]) -> None:
        if not self.database.healthy:
            self._give_up(batch)

    @staticmethod
    def _fail(jobs: list[Job[Any]], error: Exception) -> None:
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(error)
