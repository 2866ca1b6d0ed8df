"""Numbered SQL files, applied once and in order; a schema from the future is refused."""

import sqlite3
from pathlib import Path

SQL = Path(__file__).parent / "sql"


class SchemaFromTheFuture(Exception):
    """The database was written by a newer version of Callbridge."""


def migrate(db: sqlite3.Connection) -> None:
    """Bring `db` (in autocommit mode) to the newest schema; each file is one transaction."""
    files = sorted(SQL.glob("[0-9]*.sql"))
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(files):
        raise SchemaFromTheFuture(
            f"the database has schema {version}, this version of Callbridge knows {len(files)}: install a newer one"
        )
    for number, file in enumerate(files[version:], start=version + 1):
        db.executescript(f"BEGIN IMMEDIATE;\n{file.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")
