"""One change for the writer: what it decides from, and what it writes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from service.core.copies import FileCopy
from service.core.outbox import Announcement
from service.core.points import Point
from service.core.task import Task
from service.ports.queries import Idempotency
from service.store.postgres.batch import PostgresBatch

T = TypeVar("T")


@dataclass(slots=True)
class Change(Generic[T]):
    """What a job writes; its caller gets `result` once that is committed."""

    result: T
    moved: Task | None = None
    added: Task | None = None
    announcements: Sequence[Announcement] = ()
    # Tasks that this finished.
    finished: Sequence[Task] = ()
    callback: tuple[Any, ...] | None = None
    outcomes: Sequence[tuple[Any, ...]] = ()
    # Files to copy, and rows of `batch.ended_row`.
    copies: Sequence[FileCopy] = ()
    ended_copies: Sequence[tuple[Any, ...]] = ()


@dataclass(slots=True)
class Job(Generic[T]):
    name: Point
    # Decides in memory, from the rows that the batch has locked. If it raises, nothing of it is written.
    work: Callable[[PostgresBatch], Change[T]]
    task_id: str | None = None
    # For a new task: its owner, its idempotency key, its id and the time.
    key: tuple[str, Idempotency, str, int] | None = None
    # A copy whose claim must still stand.
    copy: FileCopy | None = None
    done: "asyncio.Future[T]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
