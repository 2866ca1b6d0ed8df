"""The schema's version: one row of one table on every engine, raised by numbered SQL files."""

from pathlib import Path

from service.store.errors import CannotOpen


class SchemaFromTheFuture(CannotOpen):
    """The database was written by a newer version of Callbridge."""


def numbered_files(folder: Path) -> list[Path]:
    """The first brings the schema to version 1, and so on."""
    return sorted(folder.glob("[0-9]*.sql"))


def refuse_newer(version: int, known: int) -> None:
    """Raises SchemaFromTheFuture."""
    if version > known:
        raise SchemaFromTheFuture(
            f"the database has schema {version}, this version of Callbridge knows {known}: install a newer one"
        )
