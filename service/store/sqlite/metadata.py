"""Metadata as text for searches, in its own table; it never changes, so only new tasks write there."""

import sqlite3

from service.core.task import Task
from service.store.sqlite.rows import task_to_metadata

# Characters. An index key must be short, so of longer text only the beginning is indexed.
INDEXED = 200
# Queries have only text, so numbers and booleans are compared as JSON. (IN would build a table each time.)
TEXT = (
    "CASE m.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null'"
    " ELSE CAST(m.value AS TEXT) END"
)
# Long keys may have the same beginning: one row serves both.
WRITE = (
    "INSERT OR IGNORE INTO task_metadata (task_id, owner, key, value)"
    f" SELECT ?, ?, substr(m.key, 1, {INDEXED}), substr({TEXT}, 1, {INDEXED}) FROM json_each(?) m"
)
# Of a task `t`, for long text.
IS_EXACTLY = (
    "EXISTS (SELECT 1 FROM"
    " json_each(CASE WHEN json_valid(CAST(t.state AS TEXT)) THEN CAST(t.state AS TEXT) END, '$.metadata') m"
    f" WHERE m.key = {{key}} AND {TEXT} = {{value}})"
)


def write_metadata(db: sqlite3.Connection, task: Task) -> None:
    """Call it inside a transaction."""
    if task.metadata:
        db.execute(WRITE, task_to_metadata(task))
