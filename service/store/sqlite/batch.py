"""The rows that one transaction gathers, written with one statement for each kind.

A separate statement costs several times as much as a row of `executemany`, and a task that moves twice in a batch is
written once. To read these tables inside a transaction, get the connection from `written()`.
"""

import sqlite3
from typing import Any

from service.core.delivery import Delivery
from service.core.event import Event
from service.core.task import Task
from service.store.sqlite.open_tasks import OpenTasks
from service.store.sqlite.rows import (
    event_to_row,
    new_delivery_to_row,
    task_from_row,
    task_to_changed_row,
    task_to_moved_row,
)

Rows = list[tuple[Any, ...]]
# Most moves change no time, and so no index: SQLite rewrites an index whenever one of its columns is set.
MOVED = "UPDATE tasks SET status = ?, state = ? WHERE n = ?"
CHANGED = (
    "UPDATE tasks SET status = ?, state = ?, finished_at = ?, sent_at = ?, check_at = ?, deadline_at = ?,"
    " place_until = ? WHERE n = ?"
)
EVENT = "INSERT INTO events (seq, id, type, owner, task_id, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
DELIVERY = (
    "INSERT INTO deliveries (n, lane, subscription_id, owner, seq, event_id, event_type, task_id, url,"
    " next_attempt_at, worker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# Only under the worker's claim: after losing it, a worker changes nothing.
OUTCOME = (
    "UPDATE deliveries SET status = ?, tries = ?, attempts = ?, next_attempt_at = ?, worker = 0"
    " WHERE n = ? AND worker = ?"
)
CALLBACK = (
    "INSERT INTO callbacks (at, provider, task_id, result, status_code, detail, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class SqliteBatch:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._open = OpenTasks()
        # Grows with every row, so that the writer sees whether a failed change had written anything.
        self.steps = 0
        self._counted = self._counters()
        self._start()

    def _start(self) -> None:
        self._moved: dict[int, tuple[Any, ...]] = {}
        self._changed: dict[int, tuple[Any, ...]] = {}
        self._events: Rows = []
        self._deliveries: Rows = []
        self._outcomes: Rows = []
        self._callbacks: Rows = []
        # Published after the commit.
        self.events_to_publish: list[Event] = []
        self.handed: list[Delivery] = []
        self.finished: list[Task] = []
        self._seq, self._n = self._counted

    def _counters(self) -> tuple[int, int]:
        """The last seq and the last delivery number; neither is ever given twice, even after rows were removed."""
        given = dict(self._db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        return given.get("events", 0), given.get("deliveries", 0)

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def next_delivery(self) -> int:
        self._n += 1
        return self._n

    # --- gathering ---

    def task(self, task_id: str) -> tuple[int, Task] | None:
        """A task as changed in this transaction so far, and the number of its row."""
        known = self._open.get(task_id)
        if known is not None:
            return known
        row = self._db.execute("SELECT n, state FROM tasks WHERE id = ?", (task_id,)).fetchone()
        return None if row is None else (row[0], task_from_row(row[1:]))

    def put_task(self, n: int, before: Task, after: Task) -> None:
        self.steps += 1
        if n in self._changed or not _same_times(before, after):
            self._moved.pop(n, None)
            row = self._changed[n] = task_to_changed_row(n, after)
        else:
            row = self._moved[n] = task_to_moved_row(n, after)
        self._open.put(n, after, len(row[1]))

    def put_event(self, event: Event) -> None:
        self.steps += 1
        self._events.append(event_to_row(event))
        self.events_to_publish.append(event)

    def put_delivery(self, delivery: Delivery) -> None:
        self.steps += 1
        self._deliveries.append(new_delivery_to_row(delivery))

    def put_outcomes(self, rows: Rows) -> None:
        """Of deliveries that this process has claimed."""
        self.steps += len(rows)
        self._outcomes += rows

    def put_callback(self, row: tuple[Any, ...]) -> None:
        """One row of the audit log."""
        self.steps += 1
        self._callbacks.append(row)

    # --- around the transaction ---

    def written(self) -> sqlite3.Connection:
        """The connection, once everything gathered so far is written."""
        for statement, rows in (
            (MOVED, list(self._moved.values())),
            (CHANGED, list(self._changed.values())),
            (EVENT, self._events),
            (DELIVERY, self._deliveries),
            (OUTCOME, self._outcomes),
            (CALLBACK, self._callbacks),
        ):
            if rows:
                self._db.executemany(statement, rows)
        self._moved, self._changed = {}, {}
        self._events, self._deliveries, self._outcomes, self._callbacks = [], [], [], []
        return self._db

    def committed(self) -> tuple[list[Event], list[Delivery], list[Task]]:
        """After the commit: the events, handed over deliveries and finished tasks to publish."""
        self._counted = self._seq, self._n
        published, handed, finished = self.events_to_publish, self.handed, self.finished
        self._open.trim()
        self._start()
        return published, handed, finished

    def undone(self) -> None:
        self._open.forget()
        self._start()


def _same_times(before: Task, after: Task) -> bool:
    return (
        before.check_at == after.check_at
        and before.deadline_at == after.deadline_at
        and before.sent_at == after.sent_at
        and before.finished_at == after.finished_at
        and before.place_until == after.place_until
    )
