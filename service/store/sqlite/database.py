"""One SQLite file: the writer's connection, the readers, and what a batch has to tell after its commit."""

import asyncio
import fcntl
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, TypeVar

import aiosqlite

from service.core.delivery import Delivery
from service.core.errors import Unavailable
from service.core.event import Event, encode_event
from service.core.ids import new_id
from service.core.points import Point
from service.core.subscription import Recipient, Subscription, recipients
from service.core.task import Task
from service.ports import Listener, Rows
from service.ports.observers import CommitObserver
from service.store.sqlite.batch import Batch
from service.store.sqlite.checkpoint import LAST_RESORT, Checkpointer
from service.store.sqlite.migrate import migrate
from service.store.sqlite.rows import SUBSCRIPTION_COLUMNS, subscription_from_row
from service.store.sqlite.writer import Writer

log = logging.getLogger("callbridge.store")
T = TypeVar("T")
Values = Sequence[Any] | Mapping[str, Any]
READERS = 2
READ_AHEAD = 8
# A lease outlives any attempt; in one process it only says "somebody has this in hand".
LEASE_MS = 15 * 60 * 1000
# Every lane with something pending. One step in the index for each: a million rows of one lane cost nothing here.
LANES = (
    "WITH RECURSIVE found(lane) AS ("
    " SELECT min(lane) FROM deliveries WHERE status = 'pending' UNION ALL"
    " SELECT (SELECT min(lane) FROM deliveries WHERE status = 'pending' AND lane > found.lane)"
    " FROM found WHERE found.lane IS NOT NULL) SELECT lane FROM found WHERE lane IS NOT NULL"
)


class DatabaseInUse(Exception):
    """Another Callbridge process has this file open."""


class Database:
    def __init__(self, path: str) -> None:
        self.path = path
        self.listener: Listener | None = None
        self.observers: list[CommitObserver] = []
        # All of them in memory, by owner and by id: every event asks who wants it.
        self.subscriptions: dict[str, tuple[Subscription, ...]] = {}
        self.subscription_by_id: dict[str, Subscription] = {}
        self._changed_subscriptions = False
        self._scan = asyncio.Semaphore(1)

    async def open(self, kill_point: Callable[[str], None] | None = None) -> None:
        """Raises DatabaseInUse, SchemaFromTheFuture, sqlite3.Error."""
        self._lock = _lock(self.path + ".lock")
        try:
            self.db = _connect(self.path)
        except BaseException:
            self._lock.close()
            raise
        self._void_leases()
        self.batch = Batch(self.db)
        self._checkpointer = Checkpointer(self.path)
        self._load_subscriptions()
        self._free: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for _ in range(READERS):
            reader = await aiosqlite.connect(self.path, timeout=5, isolation_level=None)
            await reader.execute("PRAGMA query_only = ON")
            self._free.put_nowait(reader)
        self.writer = Writer(
            self.db,
            steps=lambda: self.batch.steps,
            finish=self.batch.written,
            settle=self._settle,
            undo=self._undo,
            kill_point=kill_point,
        )

    def _void_leases(self) -> None:
        """The lock says that nobody else lives, so what a dead process had in hand is free again."""
        for (lane,) in self.db.execute(LANES).fetchall():
            self.db.execute(
                "UPDATE deliveries SET lease_until = 0 WHERE status = 'pending' AND lane = ? AND lease_until > 0",
                (lane,),
            )

    async def close(self) -> None:
        await self.writer.close()
        await self._checkpointer.close()
        for _ in range(READERS):
            await (await self._free.get()).close()
        self.db.close()
        self._lock.close()

    def write(self, name: Point, work: Callable[[], T]) -> "asyncio.Future[T]":
        return self.writer.do(name, work)

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[aiosqlite.Connection]:
        connection = await self._free.get()
        try:
            yield connection
        except sqlite3.Error as error:
            log.error("the store cannot be read: %s", error)
            raise Unavailable("The store cannot be read at the moment; try again.", retry_after=5) from None
        finally:
            self._free.put_nowait(connection)

    async def rows(self, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
        async with self.reader() as connection:
            return [tuple(row) for row in await connection.execute_fetchall(sql, values)]

    async def page(
        self, sql: str, values: Values, limit: int, max_bytes: int | None, slow: bool = False
    ) -> Rows[tuple[Any, ...]]:
        """At most `limit` rows, ending with the one that takes their bytes over `max_bytes`.

        `slow`: the query may look at the whole history. One such at a time, so that a reader is left for the others.
        """
        found = Rows[tuple[Any, ...]]()
        size = 0
        async with (
            self._scan if slow else nullcontext(),
            self.reader() as connection,
            connection.execute(sql, values) as cursor,
        ):
            # A few at a time: rows that the page has no room for must not be read into memory.
            while rows := list(await cursor.fetchmany(limit + 1 if max_bytes is None else READ_AHEAD)):
                for row in rows:
                    if len(found) == limit or (max_bytes is not None and size > max_bytes):
                        found.more = True
                        return found
                    found.append(tuple(row))
                    size += sum(len(value) for value in row if isinstance(value, bytes))
        return found

    # --- inside a transaction ---

    def tell(
        self, event_type: str, owner: str, task: Task | None, data: bytes, now: int, skip: str | None = None
    ) -> Event:
        """Write one event and its deliveries; whoever listens is told after the commit."""
        seq, event_id = self.batch.next_seq(), new_id("evt")
        body = encode_event(seq, event_id, event_type, now, data)
        event = Event(seq, event_id, event_type, owner, task.id if task else None, now, body)
        self.batch.put_event(event)
        self.enqueue(event, recipients(event_type, task, self.subscriptions.get(owner, ()), skip), now)
        return event

    def enqueue(self, event: Event, found: list[Recipient], now: int) -> None:
        """Write deliveries; those whose lane has room are handed over in memory after the commit, leased to us."""
        for recipient in found:
            in_memory = self.listener is not None and self.listener.wants(recipient.lane)
            delivery = self._delivery_of(event, recipient, now)
            self.batch.put_delivery(delivery, now, now + LEASE_MS if in_memory else 0)
            if in_memory:
                self.batch.handed.append(delivery)

    def enqueue_in_hand(self, event: Event, recipient: Recipient, now: int) -> Delivery:
        """One delivery that the caller itself attempts."""
        delivery = self._delivery_of(event, recipient, now)
        self.batch.put_delivery(delivery, now, now + LEASE_MS)
        return delivery

    def _delivery_of(self, event: Event, recipient: Recipient, now: int) -> Delivery:
        return Delivery(
            n=self.batch.next_delivery(),
            lane=recipient.lane,
            subscription_id=recipient.subscription_id,
            owner=event.owner,
            seq=event.seq,
            event_id=event.id,
            event_type=event.type,
            task_id=event.task_id,
            url=recipient.url,
            body=event.body,
            next_attempt_at=now,
        )

    def subscriptions_changed(self) -> None:
        """Call inside the transaction that changed them: the same batch already sees the new list."""
        self._changed_subscriptions = True
        self._load_subscriptions()

    def _load_subscriptions(self) -> None:
        found: dict[str, list[Subscription]] = {}
        rows = self.db.execute(f"SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions ORDER BY id")
        items = [subscription_from_row(row) for row in rows]
        for item in items:
            found.setdefault(item.owner, []).append(item)
        self.subscription_by_id = {item.id: item for item in items}
        self.subscriptions = {owner: tuple(items) for owner, items in found.items()}

    # --- around a transaction ---

    def _settle(self, seconds: float) -> None:
        told, handed, finished = self.batch.committed()
        self._changed_subscriptions = False
        self._checkpointer.written(self.batch.steps)
        if self.listener is not None:
            for event in told:
                self.listener.told(event)
            for delivery in handed:
                self.listener.handed(delivery)
        for observer in self.observers:
            observer.committed(seconds, finished)

    def _undo(self) -> None:
        self.batch.undone()
        if self._changed_subscriptions:
            self._changed_subscriptions = False
            if self.db.in_transaction:
                self.db.rollback()
            self._load_subscriptions()


def _connect(path: str) -> sqlite3.Connection:
    """The writer's connection, at the newest schema."""
    # For a value that is neither number nor text sqlite3 looks for an adapter, and a search that finds none costs
    # 3,000 instructions: two for each task that moves, two for each outcome of a delivery.
    sqlite3.register_adapter(bytes, bytes)
    sqlite3.register_adapter(type(None), lambda nothing: nothing)
    # It holds the secrets of subscriptions: nobody else on the machine needs to read it.
    Path(path).touch(mode=0o600)
    # Statements never wait for a lock in the event loop (timeout 0): the writer tries again by itself.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on disk before it is acknowledged; group commit makes that nearly free.
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {LAST_RESORT}")
        # 16 MiB of pages: the ends of all indexes stay in memory beside a history of gigabytes.
        db.execute("PRAGMA cache_size = -16384")
        migrate(db)
        # Only now: a new index on a long history is sorted on disk.
        db.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        db.close()
        raise
    return db


def _lock(path: str) -> IO[str]:
    """One process per file: two would each think that they alone hand out the work."""
    try:
        file = open(path, "w")  # noqa: SIM115 - held until close
    except OSError as error:
        raise sqlite3.OperationalError(f"{path} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise DatabaseInUse(
            f"another Callbridge process uses {os.path.basename(path.removesuffix('.lock'))}: stop it first"
        ) from None
    return file
