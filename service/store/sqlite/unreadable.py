"""Damaged rows: named once in the log, left out of lists, and never claimed again."""

import logging
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from service.core.errors import CallbridgeError

log = logging.getLogger("callbridge.store")
T = TypeVar("T")
Row = tuple[Any, ...]
TASK_ID = re.compile(r"tsk_[0-9a-f]{32}")
# Marks a damaged task and keeps its content; its deadline moves to the year 10,000.
SET_ASIDE = (
    "UPDATE tasks SET status = 'unreadable', sent_at = NULL, check_at = NULL, deadline_at = 253402300800000 WHERE n = ?"
)
SET_DELIVERY_ASIDE = "UPDATE deliveries SET status = 'unreadable', next_attempt_at = NULL WHERE n = ?"
# All rows may be damaged, so only so many are named.
MOST_NAMED = 100
_named: set[str] = set()


class UnreadableRow(CallbridgeError):
    """`name` is the id, as far as it is known."""

    def __init__(self, name: str) -> None:
        super().__init__("The stored data is damaged and cannot be read; see the log.")
        self.name = name
        name_once(name)


def name_once(name: str) -> None:
    if name not in _named and len(_named) < MOST_NAMED:
        _named.add(name)
        log.error("%s cannot be read: its row is damaged and is left out", name)


def lenient_text(value: bytes) -> str:
    """For `text_factory`: text with damaged bytes fails no statement that finds other rows as well."""
    return str(value, "utf-8", "replace")


def task_name(state: object) -> str:
    """The id is near the beginning of the state."""
    text = state.decode(errors="replace") if isinstance(state, bytes) else str(state)
    found = TASK_ID.search(text)
    return f"task {found[0]}" if found else "a task without a readable id"


def readable(rows: Iterable[Row], read: Callable[[Row], T]) -> Iterator[T]:
    """The rows that can be read; `read` raises UnreadableRow."""
    for row in rows:
        try:
            yield read(row)
        except UnreadableRow:
            continue


def claimable(db: sqlite3.Connection, rows: Iterable[Row], read: Callable[[Row], T]) -> Iterator[tuple[int, T]]:
    """Call it inside a transaction. Yields the number, which is the first column, and what `read` makes of the others.

    Damaged tasks are marked, or they would be claimed again and again.
    """
    for n, *rest in rows:
        try:
            yield n, read(tuple(rest))
        except UnreadableRow:
            db.execute(SET_ASIDE, (n,))
