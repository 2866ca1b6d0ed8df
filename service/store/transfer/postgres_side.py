"""A PostgreSQL database as a side of a copy."""

from collections.abc import AsyncIterator, Sequence

import asyncpg

from service.store.errors import CannotOpen
from service.store.postgres.address import connect_arguments
from service.store.postgres.connection import OwnConnection
from service.store.postgres.migrate import migrate
from service.store.postgres.trouble import describe
from service.store.transfer.sides import AT_ONCE, LastNumbers, Row

CONNECT = 30.0


class PostgresSide:
    def __init__(self, connection: OwnConnection, transaction: asyncpg.transaction.Transaction) -> None:
        self._connection = connection
        self._transaction = transaction
        self._committed = False

    @classmethod
    async def open(cls, url: str, name: str) -> "PostgresSide":
        """`name` is that of the option, for error messages."""
        try:
            connection = await asyncpg.connect(**connect_arguments(url), timeout=CONNECT)
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise CannotOpen(f"{name}: {describe(error)}") from None
        others = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        if others:
            await connection.close()
            raise CannotOpen(f"{name}: {others} connections are open to this database: stop the service first")
        try:
            await migrate(connection)
        except BaseException:
            await connection.close()
            raise
        transaction = connection.transaction()
        await transaction.start()
        return cls(connection, transaction)

    async def tables(self) -> list[str]:
        rows = await self._connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        return [row[0] for row in rows]

    async def columns(self, table: str) -> dict[str, str]:
        rows = await self._connection.fetch(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
            table,
        )
        return {row[0]: row[1].lower() for row in rows}

    async def count(self, table: str) -> int:
        return int(await self._connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        cursor = await self._connection.cursor(f"SELECT {', '.join(columns)} FROM {table}")
        while rows := await cursor.fetch(AT_ONCE):
            yield [tuple(row) for row in rows]

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        await self._connection.copy_records_to_table(table, records=rows, columns=list(columns))

    async def clear(self, table: str) -> None:
        await self._connection.execute(f"DELETE FROM {table}")

    async def numbers(self) -> LastNumbers:
        row = await self._connection.fetchrow(
            "SELECT events, deliveries, coalesce((SELECT max(id) FROM workers), 0) AS workers FROM counters"
        )
        assert row is not None
        return LastNumbers(row["events"], row["deliveries"], row["workers"])

    async def set_numbers(self, numbers: LastNumbers) -> None:
        await self._connection.execute(
            "UPDATE counters SET events = $1, deliveries = $2", numbers.events, numbers.deliveries
        )
        # All of its workers have ended; the next start releases their claims.
        await self._connection.execute("DELETE FROM workers")
        await self._connection.execute(
            "INSERT INTO workers (id, lease_until, ended) OVERRIDING SYSTEM VALUE"
            " SELECT generate_series(1, $1::bigint), 0, true",
            numbers.workers,
        )
        for row in await self._connection.fetch(
            "SELECT table_name AS name, column_name AS number FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND is_identity = 'YES'"
        ):
            await self._connection.execute(
                f"SELECT setval(pg_get_serial_sequence('{row['name']}', '{row['number']}'),"
                f" coalesce((SELECT max({row['number']}) FROM {row['name']}), 0) + 1, false)"
            )

    async def commit(self) -> None:
        await self._transaction.commit()
        self._committed = True

    async def close(self) -> None:
        if not self._committed:
            await self._transaction.rollback()
        await self._connection.close()
