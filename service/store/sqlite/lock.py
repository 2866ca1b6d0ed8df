"""One process per database file, since each assumes that it alone hands out the work.

The file itself is locked, so the path to it does not matter. SQLite's own locks are of another kind (POSIX record
locks) and independent of this one, except that closing any descriptor of the file would release them: keep this one
open until every connection is closed.
"""

import fcntl
import os
import sqlite3

from service.store.errors import CannotOpen


class DatabaseInUse(CannotOpen):
    """Another Callbridge process has this file open."""


class FileLock:
    def __init__(self, path: str) -> None:
        """Creates the file if it does not exist. Raises DatabaseInUse, sqlite3.OperationalError."""
        self.path = path
        try:
            # Readable by this user only, because it contains the secrets of subscriptions.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise sqlite3.OperationalError(f"{path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise DatabaseInUse(f"another Callbridge process uses {os.path.basename(path)}: stop it first") from None

    def missing(self) -> str | None:
        """A sentence if the path no longer leads to the open file, else None."""
        ours = os.fstat(self._file)
        try:
            there = os.stat(self.path)
        except OSError as error:
            return f"the database file {self.path} is gone ({error.strerror})"
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            return f"the database file {self.path} was replaced by another file"
        return None

    def release(self) -> None:
        os.close(self._file)
