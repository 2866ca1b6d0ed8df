"""The version of the schema: one row in a table on every engine, incremented by numbered SQL files."""

from pathlib import Path

from service.store.errors import CannotOpen


class SchemaFromTheFuture(CannotOpen):
    """The database was written by a newer version of Callbridge."""


def numbered_files(folder: Path) -> list[Path]:
    """The first file brings the schema to version 1, and so on."""
    return sorted(folder.glob("[0-9]*.sql"))


def refuse_newer(version: int, known: int) -> None:
    """Raises SchemaFromTheFuture."""
    if version > known:
        raise SchemaFromTheFuture(
            f"the database has schema {version}, this version of Callbridge knows {known}: install a newer one"
        )
