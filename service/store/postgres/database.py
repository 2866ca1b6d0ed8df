"""One PostgreSQL database: a bounded pool of connections, transactions, and its trouble as Unavailable.

The driver is asyncpg: the statements of 64 callbacks in one transaction cost it 20 us of CPU for each, psycopg 3 with
binary parameters 28 us, with or without its pipeline mode; of one callback 0.4 ms against 1.0 ms.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import asyncpg

from service.core.errors import Unavailable
from service.core.points import Point
from service.store.errors import CannotOpen
from service.store.postgres.address import connect_arguments
from service.store.postgres.connection import Connection, OwnConnection, Pool, Unit, begin, cut, roll_back
from service.store.postgres.migrate import migrate
from service.store.postgres.pooler import NotificationsLost, hears
from service.store.postgres.trouble import describe, is_trouble

log = logging.getLogger("callbridge.store")
T = TypeVar("T")

# At most 8 connections for each process: the writer's, the listener's, and these.
POOL = 6
# Seconds. Together less than the 15 within which intake must respond with 503.
ACQUIRE, STATEMENT, CONNECT = 4.0, 8.0, 5.0
# Reconnects are spread over so many.
SPREAD = 0.5
# How long a start waits for the server.
PATIENCE = 30.0
LONG_READS = 2
READ_AHEAD = 16
# Behind a pooler each transaction may get another session, which has none of the prepared statements.
NO_STATEMENTS = {"statement_cache_size": 0}
# Waiting does not help at a start; while the service runs, an operator may fix even these.
HOPELESS = (ssl.SSLCertVerificationError, asyncpg.exceptions.ClientConfigurationError)


class DatabaseUnreachable(CannotOpen):
    """The start ends with this sentence, which names the setting."""


KillPoint = Callable[[str], None]


class PostgresDatabase:
    def __init__(self, url: str, direct_url: str | None = None, kill_point: KillPoint | None = None) -> None:
        """`direct_url` is that of the server itself if `url` is that of a pooler."""
        self.url = url
        self.direct_url = direct_url or url
        self.pooled = direct_url is not None
        self.healthy = True
        self._kill_point = kill_point
        self.long_reads = asyncio.Semaphore(LONG_READS)

    async def open(self, patience: float = PATIENCE) -> None:
        """Wait for the server, and bring the schema up to date. Raises DatabaseUnreachable, NotificationsLost,
        SchemaFromTheFuture."""
        deadline = time.monotonic() + patience
        direct = "DATABASE_DIRECT_URL" if self.pooled else "DATABASE_URL"
        connection = await self._reach(direct, deadline, self._migrated)
        try:
            self._pool = await self._reach("DATABASE_URL", deadline, self._make_pool)
            try:
                if not await self._reach(direct, deadline, lambda: hears(connection, self._pool)):
                    raise NotificationsLost(self.pooled)
            except BaseException:
                self._pool.terminate()
                raise
        finally:
            connection.terminate()

    async def _migrated(self) -> OwnConnection:
        connection = await self.connect(direct=True)
        try:
            await migrate(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _make_pool(self) -> Pool:
        pool = await asyncpg.create_pool(
            **connect_arguments(self.url),
            # None is kept open for its own sake: asyncpg would restore it again and again while the server is gone.
            min_size=0,
            max_size=POOL,
            command_timeout=STATEMENT,
            timeout=CONNECT,
            reset=_nothing,
            connect=self._connect,
            **self._options(),
        )
        try:
            await pool.execute("SELECT 1")
        except BaseException:
            pool.terminate()
            raise
        return pool

    async def _connect(self, *arguments: Any, **options: Any) -> OwnConnection:
        """After trouble all processes come back, but not all at the same moment."""
        if not self.healthy:
            await asyncio.sleep(random.uniform(0, SPREAD))  # noqa: S311 - spreads reconnects
        return await asyncpg.connect(*arguments, **options)

    async def _reach(self, setting: str, deadline: float, connect: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await connect()
            except CannotOpen:
                raise
            except Exception as error:
                # Waiting does not help with a wrong password, a missing database or a certificate.
                if not is_trouble(error) or isinstance(error, HOPELESS) or time.monotonic() > deadline:
                    raise DatabaseUnreachable(f"the database at {setting} cannot be used: {describe(error)}") from None
                if self.healthy:
                    log.warning("waiting for the database, which does not respond: %s", describe(error))
                self.healthy = False
                await asyncio.sleep(random.uniform(0.3, 1))  # noqa: S311 - spreads reconnects

    def _options(self) -> dict[str, Any]:
        return NO_STATEMENTS if self.pooled else {}

    async def close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STATEMENT):
                await self._pool.close()
        self._pool.terminate()

    async def connect(self, direct: bool = False) -> OwnConnection:
        """A connection outside the pool; `direct` if it needs a session of its own."""
        url = self.direct_url if direct else self.url
        options = NO_STATEMENTS if direct else self._options()
        return await self._connect(**connect_arguments(url), timeout=CONNECT, command_timeout=STATEMENT, **options)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Raises Unavailable for whatever is wrong with the server."""
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE)
        except Exception as error:
            raise self.unavailable(error) from error
        try:
            yield connection
        except BaseException as error:
            if is_trouble(error):
                cut(connection)
                raise self.unavailable(error) from error
            raise
        else:
            self.healthy = True
        finally:
            await self._pool.release(connection)

    async def write(self, name: Point, sql: str, *values: object) -> list[asyncpg.Record]:
        """One statement in a transaction of its own."""
        async with self.transaction(name) as unit:
            return await unit.connection.fetch(sql, *values)

    async def rows(self, sql: str, *values: object) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            return await connection.fetch(sql, *values)

    async def long_rows(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """For statements over many rows: a few at a time, so that short reads find a connection."""
        async with self.long_reads:
            return await self.rows(sql, *values)

    async def pages(self, sql: str, *values: object) -> AsyncGenerator[asyncpg.Record, None]:
        """Row by row, with a few in memory: for statements that may go through the whole history, or have large rows.
        A few at a time, so that short reads find a connection."""
        async with self.long_reads, self.connection() as connection, connection.transaction(readonly=True):
            if self.pooled:
                # A named statement would stay in the pooler's session.
                statement = await connection.prepare(sql, name="")
                cursor = statement.cursor(*values, prefetch=READ_AHEAD)
            else:
                cursor = connection.cursor(sql, *values, prefetch=READ_AHEAD)
            async for row in cursor:
                yield row

    @asynccontextmanager
    async def transaction(self, *names: Point, durable: bool = True) -> AsyncIterator[Unit]:
        """`names` are those of commit points.

        Not `durable`: a crash of the server may undo it, which must do no harm. After Unavailable nothing was stored,
        except where the caller is cancelled before that is known.
        """
        async with self.connection() as connection:
            await begin(connection, durable=durable)
            unit = Unit(connection)
            try:
                yield unit
            except BaseException:
                await roll_back(connection)
                raise
            await self.commit(unit, *names)

    async def commit(self, unit: Unit, *names: Point) -> None:
        self._pass("before", names)
        await self._commit(unit)
        self._pass("after", names)

    def _pass(self, moment: str, names: Iterable[Point]) -> None:
        if self._kill_point is not None:
            for name in names:
                self._kill_point(f"{moment}:{name}")

    async def _commit(self, unit: Unit) -> None:
        try:
            await unit.connection.execute("COMMIT")
        except Exception as error:
            if not is_trouble(error):
                raise
            cut(unit.connection)
            if unit.xid is None or not await self.was_committed(unit):
                raise

    async def was_committed(self, unit: Unit) -> bool:
        """The connection broke during COMMIT: ask until the server is back and knows."""
        while True:
            await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads reconnects
            try:
                connection = await self.connect()
                try:
                    status = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", unit.xid)
                    if status == "committed" and unit.proof is not None:
                        return bool(await connection.fetchval(*unit.proof))
                finally:
                    connection.terminate()
            except Exception as error:
                if not is_trouble(error):
                    log.exception("cannot tell whether a transaction was committed")
                    return False
                continue
            if status != "in progress":
                return bool(status == "committed")

    def unavailable(self, error: BaseException) -> Unavailable:
        if self.healthy:
            log.error("the database is in trouble: %s", describe(error))
        self.healthy = False
        return Unavailable("The database does not respond at the moment; try again.", retry_after=5)


async def _nothing(connection: Connection) -> None:
    """Nothing outlives a transaction here, so a connection is reused without a round trip."""
