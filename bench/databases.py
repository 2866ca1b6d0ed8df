"""The database of a measured service, read and filled beside it: a file of SQLite, or a database of PostgreSQL."""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg

from service.tools.postgres import PostgresServer

T = TypeVar("T")
Values = tuple[Any, ...]


class Table(Protocol):
    """Which columns of a table are filled."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> dict[str, Any]: ...


class Database(Protocol):
    @property
    def url(self) -> str:
        """As DATABASE_URL."""
        ...

    def fresh(self, name: str) -> "Database":
        """An empty one beside it."""
        ...

    def ask(self, sql: str, *values: Any) -> list[Values]:
        """Rows; each `?` is the next of `values`."""
        ...

    def last_row(self, table: str, where: str) -> dict[str, Any]:
        """By column, as it is needed for another row: without a number that the database gives."""
        ...

    def put(self, tables: Iterable[tuple[Table, Iterable[Values]]]) -> None:
        """In one transaction, and so that no later round pays for it."""
        ...

    def settle(self) -> None:
        """What the database would do with its log and its statistics beside the measurement is done now."""
        ...


class BenchSqlite:
    def __init__(self, file: Path, *, journal: bool = True) -> None:
        """Without a journal rows come in faster, and nobody else may use the file."""
        self.file = file
        self.url = f"sqlite:///{file}"
        self._journal = journal

    def fresh(self, name: str) -> "BenchSqlite":
        file = self.file.with_name(f"{name}.db")
        for old in file.parent.glob(file.name + "*"):
            old.unlink()
        return BenchSqlite(file)

    def ask(self, sql: str, *values: Any) -> list[Values]:
        with closing(self._open()) as db:
            return db.execute(sql, values).fetchall()

    def last_row(self, table: str, where: str) -> dict[str, Any]:
        with closing(self._open()) as db:
            found = db.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY 1 DESC LIMIT 1")
            columns = dict(zip([item[0] for item in found.description], found.fetchone(), strict=True))
        columns.pop("n", None)
        return columns

    def put(self, tables: Iterable[tuple[Table, Iterable[Values]]]) -> None:
        with closing(self._open()) as db:
            db.execute("BEGIN IMMEDIATE")
            for table, rows in tables:
                marks = ", ".join("?" * len(table.columns))
                db.executemany(f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", rows)
            db.execute("COMMIT")
        if self._journal:
            self.settle()

    def settle(self) -> None:
        with closing(self._open()) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.file, isolation_level=None, timeout=30)
        if not self._journal:
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
        return db


class BenchPostgres:
    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)

    def fresh(self, name: str) -> "BenchPostgres":
        self.server.sql(f"DROP DATABASE IF EXISTS {name}")
        self.server.sql(f"CREATE DATABASE {name}")
        return BenchPostgres(self.server, name)

    def ask(self, sql: str, *values: Any) -> list[Values]:
        numbers = count(1)
        numbered = re.sub(r"\?", lambda _: f"${next(numbers)}", sql)
        return [tuple(row) for row in self._with_connection(lambda connection: connection.fetch(numbered, *values))]

    def last_row(self, table: str, where: str) -> dict[str, Any]:
        [row] = self._with_connection(
            lambda connection: connection.fetch(f"SELECT * FROM {table} WHERE {where} ORDER BY 1 DESC LIMIT 1")
        )
        return dict(row)

    def put(self, tables: Iterable[tuple[Table, Iterable[Values]]]) -> None:
        async def copy(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            async with connection.transaction():
                for table, rows in tables:
                    await connection.copy_records_to_table(table.name, columns=list(table.columns), records=rows)
                await connection.execute(
                    "UPDATE counters SET events = now.events, deliveries = now.deliveries FROM"
                    " (SELECT greatest(c.events, (SELECT max(seq) FROM events)) AS events,"
                    " greatest(c.deliveries, (SELECT max(n) FROM deliveries)) AS deliveries FROM counters c) AS now"
                    " WHERE (counters.events, counters.deliveries) <> (now.events, now.deliveries)"
                )
            await connection.execute("CHECKPOINT")

        self._with_connection(copy)

    def settle(self) -> None:
        self.server.sql("VACUUM (ANALYZE)", self.name)
        self.server.sql("CHECKPOINT")

    def _with_connection(self, work: "Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[T]]") -> T:
        async def run() -> T:
            connection = await asyncpg.connect(self.url)
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(run())
