"""One SQLite file: the writer's connection, the readers, and what is published after a commit."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

from service.core.event import Event
from service.core.outbox import Announcement, delivery_of, numbered, recipients
from service.core.points import Point
from service.core.subscription import Recipient
from service.ports.observers import Observers
from service.ports.queries import Rows
from service.ports.work import DeliveryTaker
from service.store.sqlite.batch import SqliteBatch
from service.store.sqlite.checkpoint import LAST_RESORT, LONGEST_BYTES, Checkpointer
from service.store.sqlite.file_watch import FileWatch
from service.store.sqlite.lock import FileLock
from service.store.sqlite.migrate import migrate
from service.store.sqlite.readers import Readers
from service.store.sqlite.rows import SUBSCRIPTION_COLUMNS, subscription_from_row
from service.store.sqlite.unreadable import lenient_text, readable
from service.store.sqlite.writer import SqliteWriter
from service.store.subscription_cache import SubscriptionCache

T = TypeVar("T")
Values = Sequence[Any] | Mapping[str, Any]
# Connections for short reads and for long ones, so that lookups do not wait behind long pages.
SHORT_READERS, LONG_READERS = 2, 2
READ_AHEAD = 8

# Lanes with something pending: one step in the index for each, however many rows it has.
LANES = (
    "WITH RECURSIVE found(lane) AS ("
    " SELECT min(lane) FROM deliveries WHERE status = 'pending' AND lane > :after UNION ALL"
    " SELECT (SELECT min(lane) FROM deliveries WHERE status = 'pending' AND lane > found.lane)"
    " FROM found WHERE found.lane IS NOT NULL) SELECT lane FROM found WHERE lane IS NOT NULL LIMIT :limit"
)


class SqliteDatabase:
    def __init__(self, path: str) -> None:
        self.path = path
        self.taker: DeliveryTaker | None = None
        self.observers = Observers()
        self.subscriptions = SubscriptionCache()
        self.short_readers = Readers(path, SHORT_READERS)
        self.long_readers = Readers(path, LONG_READERS)
        self._scan = asyncio.Semaphore(1)

    async def open(self, kill_point: Callable[[str], None] | None = None) -> None:
        """Raises DatabaseInUse, SchemaFromTheFuture, sqlite3.Error."""
        self._lock = FileLock(self.path)
        try:
            self.db = _connect(self.path)
        except BaseException:
            self._lock.release()
            raise
        self.batch = SqliteBatch(self.db)
        # The workers of this process have numbers from this one on.
        last = self.db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'workers'").fetchone()
        self.first_worker: int = last[0] + 1 if last else 1
        self._checkpointer = Checkpointer(self.path)
        rows = self.db.execute(f"SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions ORDER BY id")
        self.subscriptions.fill(readable(rows, subscription_from_row))
        await self.short_readers.open()
        await self.long_readers.open()
        self.writer = SqliteWriter(self.db, self, kill_point)
        self._file_watch = FileWatch(self._lock, self.writer)

    async def close(self) -> None:
        await self._file_watch.close()
        await self.writer.close()
        await self._checkpointer.close()
        await self.short_readers.close()
        await self.long_readers.close()
        self.db.close()
        self._lock.release()

    def write(self, name: Point, work: Callable[[], T]) -> "asyncio.Future[T]":
        return self.writer.do(name, work)

    async def rows(self, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """For a few rows along an index."""
        return await _fetch_all(self.short_readers, sql, values)

    async def long_rows(self, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """For statements over many rows."""
        return await _fetch_all(self.long_readers, sql, values)

    async def page(
        self, sql: str, values: Values, limit: int, max_bytes: int | None, slow: bool = False
    ) -> Rows[tuple[Any, ...]]:
        """A long read: at most `limit` rows, ending with the one that takes their bytes over `max_bytes`.

        `slow`: the query may look at the whole history. One such at a time, so that a reader is left for the others.
        """
        found = Rows[tuple[Any, ...]]()
        size = 0
        async with (
            self._scan if slow else nullcontext(),
            self.long_readers.take() as connection,
            connection.execute(sql, values) as cursor,
        ):
            # Read no rows beyond the page into memory: each may be a megabyte.
            ahead = limit + 1 if max_bytes is None else 1
            while rows := list(await cursor.fetchmany(ahead)):
                for row in rows:
                    if len(found) == limit or (max_bytes is not None and size > max_bytes):
                        found.more = True
                        return found
                    found.append(tuple(row))
                    size += sum(len(value) for value in row if isinstance(value, bytes))
                if max_bytes is not None:
                    room = max(0, max_bytes - size) * len(found) // max(1, size)
                    ahead = min(READ_AHEAD, max(1, room))
        return found

    # --- inside a transaction ---

    def announce(self, announcement: Announcement) -> None:
        """Write one event and its deliveries; they are published after the commit."""
        event = numbered(announcement, self.batch.next_seq())
        self.batch.put_event(event)
        for recipient in recipients(announcement, self.subscriptions):
            self.enqueue(event, recipient, announcement.at)

    def enqueue(self, event: Event, recipient: Recipient, now: int) -> None:
        """Write a delivery; if its lane has room in memory, it is handed over after the commit."""
        worker = self.taker.accepts(recipient.lane) if self.taker is not None else 0
        delivery = delivery_of(self.batch.next_delivery(), event, recipient, now, worker)
        self.batch.put_delivery(delivery)
        if worker:
            self.batch.handed.append(delivery)

    # --- around a transaction ---

    @property
    def steps(self) -> int:
        return self.batch.steps

    def flush(self) -> None:
        self.batch.written()

    def committed(self, seconds: float) -> None:
        events, handed, finished = self.batch.committed()
        self.subscriptions.committed()
        self._checkpointer.written(self.batch.steps)
        for event in events:
            for on_event in self.observers.event:
                on_event(event)
        if self.taker is not None:
            for delivery in handed:
                self.taker.on_delivery(delivery)
        for on_commit in self.observers.commit:
            on_commit(seconds)
        if finished:
            for on_finish in self.observers.finish:
                on_finish(finished)

    def rolled_back(self) -> None:
        self.batch.undone()
        self.subscriptions.undo()


async def _fetch_all(readers: Readers, sql: str, values: Values) -> list[tuple[Any, ...]]:
    async with readers.take() as connection:
        return [tuple(row) for row in await connection.execute_fetchall(sql, values)]


def _connect(path: str) -> sqlite3.Connection:
    """The writer's connection, at the newest schema."""
    # For values other than numbers and text sqlite3 searches an adapter. A search without a result costs 3,000
    # instructions, and there are two for each task that moves and each outcome of a delivery.
    sqlite3.register_adapter(bytes, bytes)
    sqlite3.register_adapter(type(None), lambda nothing: nothing)
    # Statements must not wait for a lock in the event loop (timeout 0): the writer tries again by itself.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    db.text_factory = lenient_text
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on disk before it is acknowledged; group commit makes that nearly free.
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {LAST_RESORT}")
        db.execute(f"PRAGMA journal_size_limit = {LONGEST_BYTES}")
        # 16 MiB of pages: the ends of all indexes stay in memory, however long the history is.
        db.execute("PRAGMA cache_size = -16384")
        migrate(db)
        # Not before the migrations: a new index on a long history is sorted on disk.
        db.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        db.close()
        raise
    return db
