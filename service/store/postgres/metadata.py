"""Metadata as text for searches, the same text as on SQLite."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from service.core.task import Task
from service.store.postgres.rows import text

# Characters. An index key must be short, so of longer text only the beginning is indexed.
INDEXED = 200


def metadata_rows(task: Task) -> Iterator[tuple[str, str, str, str]]:
    for key, value in task.metadata.items():
        yield task.id, task.owner, text(key[:INDEXED]), text(text_of(value)[:INDEXED])


def text_of(value: Any) -> str:
    """Queries have only text, so other values are compared as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def is_long(key: str, value: str) -> bool:
    """Whether there is more to compare than the index has."""
    return len(key) >= INDEXED or len(value) >= INDEXED


def agrees(task: Task, metadata: Mapping[str, str]) -> bool:
    return all(key in task.metadata and text_of(task.metadata[key]) == value for key, value in metadata.items())
