"""A SQLite file as a side of a copy; locked, so that no service uses it."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from service.store.errors import CannotOpen
from service.store.sqlite.lock import FileLock
from service.store.sqlite.migrate import migrate
from service.store.transfer.sides import AT_ONCE, LastNumbers, Row


class SqliteSide:
    def __init__(self, path: str, *, must_exist: bool) -> None:
        if must_exist and not Path(path).is_file():
            raise CannotOpen(f"there is no file {path}")
        try:
            self._lock = FileLock(path)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA synchronous = FULL")
            migrate(self._db)
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise CannotOpen(f"{path}: {error}") from error

    async def tables(self) -> list[str]:
        rows = self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return [name for (name,) in rows]

    async def columns(self, table: str) -> dict[str, str]:
        return {row[1]: row[2].lower() for row in self._db.execute(f"PRAGMA table_info({table})")}

    async def count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    async def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        cursor = self._db.execute(f"SELECT {', '.join(columns)} FROM {table}")
        while rows := cursor.fetchmany(AT_ONCE):
            yield rows

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        marks = ", ".join("?" * len(columns))
        self._db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    async def clear(self, table: str) -> None:
        self._db.execute(f"DELETE FROM {table}")

    async def numbers(self) -> LastNumbers:
        given = dict(self._db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        return LastNumbers(given.get("events", 0), given.get("deliveries", 0), given.get("workers", 0))

    async def set_numbers(self, numbers: LastNumbers) -> None:
        for name, number in numbers._asdict().items():
            self._db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            self._db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, number))
        # All of its workers have ended; the next start releases their claims.
        self._db.execute("DELETE FROM workers")
        self._db.execute(
            "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?)"
            " INSERT INTO workers (id) SELECT id FROM n WHERE id <= ?",
            (numbers.workers, numbers.workers),
        )

    async def commit(self) -> None:
        self._db.execute("COMMIT")

    async def close(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._db.close()
        self._lock.release()
