"""Rows of copies, added with a task's result and removed with the task."""

import sqlite3
from collections.abc import Sequence

from service.core.copies import FileCopy

ADD = (
    "INSERT INTO copies (task_id, owner, position, url, kind, expires_at, created_at, next_attempt_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def add_copies(db: sqlite3.Connection, copies: Sequence[FileCopy]) -> int:
    """Call it inside a transaction. Returns how many."""
    rows = [(c.task_id, c.owner, c.position, c.url, c.kind, c.expires_at, c.created_at, c.created_at) for c in copies]
    db.executemany(ADD, rows)
    return len(rows)


def remove_copies(db: sqlite3.Connection, task_ids: Sequence[str]) -> None:
    """With their tasks; the files are deleted later, whenever the storage is available."""
    for task_id in task_ids:
        if db.execute("DELETE FROM copies WHERE task_id = ?", (task_id,)).rowcount:
            db.execute("INSERT INTO copy_removals (task_id) VALUES (?)", (task_id,))
