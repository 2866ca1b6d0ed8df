"""What `doctor` asks of the database file beside the running service. It leaves nothing there."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from service.store.examination import Examination
from service.store.schema import numbered_files, refuse_newer
from service.store.sqlite.migrate import SQL, version_of

COMMITS = 5
# The service holds the write lock for milliseconds at a time.
PATIENCE = 10.0


def examine(path: str) -> Examination:
    """Raises SchemaFromTheFuture, sqlite3.Error."""
    uri = f"{Path(path).absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=PATIENCE)) as db:
        refuse_newer(version_of(db), len(numbered_files(SQL)))
        found = db.execute("SELECT value FROM meta WHERE name = 'secret_key'").fetchone()
        seconds = _commit_seconds(db)
        rows = db.execute("SELECT id FROM tasks WHERE status = 'unreadable' ORDER BY id LIMIT 100").fetchall()
        return Examination(None if found is None else found[0], seconds, [task_id for (task_id,) in rows])


def _commit_seconds(db: sqlite3.Connection) -> float:
    db.execute("PRAGMA synchronous = FULL")
    taken = []
    for _ in range(COMMITS):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('doctor', '')")
        started = time.perf_counter()
        db.execute("COMMIT")
        taken.append(time.perf_counter() - started)
    db.execute("DELETE FROM meta WHERE name = 'doctor'")
    return median(taken)
