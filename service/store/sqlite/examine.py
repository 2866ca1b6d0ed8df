"""What `doctor` checks in the database file while the service runs; it leaves nothing behind."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from service.core.delivery import delivery_id
from service.store.examination import Examination
from service.store.schema import numbered_files, refuse_newer
from service.store.sqlite.migrate import SQL, version_of
from service.store.sqlite.rows import EVENT_COLUMNS, SUBSCRIPTION_COLUMNS, event_from_row, subscription_from_row
from service.store.sqlite.unreadable import MOST_NAMED, UnreadableRow, lenient_text

COMMITS = 5
# The service holds the write lock for milliseconds at a time.
PATIENCE = 10.0
# Seconds for the check of all pages; events and deliveries that are checked.
LONGEST_CHECK = 5.0
NEWEST = 1000


def examine(path: str) -> Examination:
    """Raises SchemaFromTheFuture, sqlite3.Error."""
    uri = f"{Path(path).absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=PATIENCE)) as db:
        refuse_newer(version_of(db), len(numbered_files(SQL)))
        found = db.execute("SELECT value FROM meta WHERE name = 'secret_key'").fetchone()
        seconds = _commit_seconds(db)
        damage = _damage(db)
        return Examination(None if found is None else found[0], seconds, [] if damage else _unreadable(db), damage)


def _damage(db: sqlite3.Connection) -> list[str]:
    """What is wrong in as many pages as can be checked in a few seconds."""
    end = time.monotonic() + LONGEST_CHECK
    db.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        return [text for (text,) in db.execute(f"PRAGMA quick_check({MOST_NAMED})") if text != "ok"]
    except sqlite3.OperationalError as error:
        return [] if str(error) == "interrupted" else [str(error)]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    finally:
        db.set_progress_handler(None, 0)


def _unreadable(db: sqlite3.Connection) -> list[str]:
    """What was set aside, and what would be left out of lists, of events among the newest."""
    db.text_factory = lenient_text
    tasks = "SELECT id FROM tasks WHERE status = 'unreadable' ORDER BY id LIMIT ?"
    named = [f"task {task_id}" for (task_id,) in db.execute(tasks, (MOST_NAMED,))]
    set_aside = "SELECT n FROM deliveries WHERE status = 'unreadable' AND n > (SELECT max(n) FROM deliveries) - ?"
    named += [f"delivery {delivery_id(n)}" for (n,) in db.execute(set_aside, (NEWEST,))]
    for rows, read in (
        (db.execute(f"SELECT {SUBSCRIPTION_COLUMNS} FROM subscriptions"), subscription_from_row),
        (db.execute(f"SELECT {EVENT_COLUMNS} FROM events ORDER BY seq DESC LIMIT {NEWEST}"), event_from_row),
    ):
        for row in rows:
            try:
                read(row)
            except UnreadableRow as error:
                named.append(error.name)
    return named[:MOST_NAMED]


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
