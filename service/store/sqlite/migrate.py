"""Numbered SQL files, applied once and in order; a newer schema is refused."""

import sqlite3
from pathlib import Path

from service.store.schema import numbered_files, refuse_newer

SQL = Path(__file__).parent / "sql"
# Earlier schemas had no table for the version, only SQLite's own `user_version`.
FIRST_WITH_TABLE = 6


def migrate(db: sqlite3.Connection) -> None:
    """Bring `db` (in autocommit mode) to the newest schema; each file is one transaction.

    Raises SchemaFromTheFuture.
    """
    files = numbered_files(SQL)
    version = version_of(db)
    refuse_newer(version, len(files))
    for number, file in enumerate(files[version:], start=version + 1):
        row = f"UPDATE schema_version SET version = {number};" if number >= FIRST_WITH_TABLE else ""
        db.executescript(f"BEGIN IMMEDIATE;\n{file.read_text()}\n{row}\nPRAGMA user_version = {number};\nCOMMIT;")


def version_of(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'").fetchone():
        (in_table,) = db.execute("SELECT max(version) FROM schema_version").fetchone()
        return max(int(version), int(in_table or 0))
    return int(version)
