"""Back up the whole database while the service runs."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

# Pages per step: 8 MiB, so that progress is visible.
STEP = 2048


def back_up(source: str, target: Path, progress: Callable[[int, int], None]) -> None:
    """`target` is complete or absent, and needs no other file; `progress` gets the pages done and the total.

    Raises FileExistsError, OSError, sqlite3.Error.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already; a backup replaces nothing")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}; make it first")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # It holds the secrets of subscriptions.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(source, part, progress)
        _to_disk(part)
        # A link instead of a rename, which would replace a file created meanwhile.
        os.link(part, target)
    finally:
        for name in (part, Path(f"{part}-journal"), Path(f"{part}-wal"), Path(f"{part}-shm")):
            name.unlink(missing_ok=True)
    _to_disk(target.parent)


def _copy(source: str, part: Path, progress: Callable[[int, int], None]) -> None:
    reading = sqlite3.connect(f"{Path(source).absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)
    writing = sqlite3.connect(part, isolation_level=None)
    try:
        # Read from a snapshot, or every commit of the service would restart the backup.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        reading.backup(writing, pages=STEP, progress=lambda _, left, total: progress(total - left, total))
        # A single file that can be opened on a read-only disk too.
        writing.execute("PRAGMA journal_mode = DELETE")
        (found,) = writing.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(f"the database is damaged: {found}")
    finally:
        writing.close()
        reading.close()


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
