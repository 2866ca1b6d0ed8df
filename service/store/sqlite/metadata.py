"""Metadata as text to search by, in a table of its own: it never changes, so only adding a task writes there."""

import sqlite3

from service.core.task import Task
from service.store.sqlite.rows import task_to_metadata

# Characters. A megabyte is no good key of an index: of longer text the beginning is in it.
INDEXED = 200
# A query has only text: a number or a boolean is compared as JSON writes it. (An IN would build a table each time.)
TEXT = (
    "CASE m.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null'"
    " ELSE CAST(m.value AS TEXT) END"
)
# Long keys may begin alike: one row is enough for both.
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
    """Part of the transaction it is called in."""
    if task.metadata:
        db.execute(WRITE, task_to_metadata(task))
