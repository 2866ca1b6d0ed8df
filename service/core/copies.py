"""Copies of result files: which files are copied, under which names, and how the task shows them.

The task holds what its owner sees of each copy (`core.result.Copy`); a `FileCopy` is the work behind it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from service.core.event import STORED_EVENT
from service.core.result import PENDING, Copy, File, Kind
from service.core.task import Status, Task
from service.core.times import from_iso
from service.core.transitions import Decision, Step


class FileCopy(Struct, frozen=True):
    """A file to copy: the one at `position` in its task's `output.files`. Times in milliseconds.

    `attempts` counts failed downloads only; `worker` has claimed it, 0 for none.
    """

    task_id: str
    owner: str
    position: int
    url: str
    kind: Kind
    expires_at: int | None
    created_at: int
    attempts: int = 0
    worker: int = 0


class StoredFile(Struct, frozen=True):
    """A copy in the storage, under `name`; `inline_name` is set if the file came inline."""

    name: str
    media_type: str
    bytes: int
    sha256: str
    inline_name: str | None = None


def new_copies(steps: Sequence[Step]) -> list[FileCopy]:
    """The copies that these moves of a task require: one for each pending file of a result."""
    return [copy for task, event_type in steps if event_type == "task.completed" for copy in copies_of(task)]


def copies_of(task: Task) -> list[FileCopy]:
    if task.output is None:
        return []
    return [_work(task, position, file) for position, file in enumerate(task.output.files) if file.copy == PENDING]


def _work(task: Task, position: int, file: File) -> FileCopy:
    expires_at = None if file.expires_at is None else from_iso(file.expires_at)
    return FileCopy(task.id, task.owner, position, file.url, file.kind, expires_at, task.updated_at)


def to_be_copied(task: Task, now: int) -> Task | None:
    """The task with its files marked as pending; None when there is nothing to copy, or copies exist."""
    output = task.output
    if (
        task.status is not Status.COMPLETED
        or output is None
        or not output.files
        or any(file.copy for file in output.files)
    ):
        return None
    return replace(task, output=output.to_be_copied(), updated_at=now)


def ended(position: int, copy: Copy, now: int) -> Callable[[Task], Decision]:
    """The copy of one file is stored or has failed; the last one of a task announces `task.stored`."""

    def decide(task: Task) -> Decision:
        assert task.output is not None
        files = list(task.output.files)
        files[position] = replace(files[position], copy=copy)
        output = replace(task.output, files=tuple(files))
        event_type = None if output.copies_pending else STORED_EVENT
        return ((replace(task, output=output, updated_at=now), event_type),)

    return decide


def folder_of(task_id: str) -> str:
    """`2026/01/31/tsk_…`: the day on which the task was created, as its id says."""
    day = time.strftime("%Y/%m/%d", time.gmtime(int(task_id[4:16], 16) / 1000))
    return f"{day}/{task_id}"


def name_of(copy: FileCopy, extension: str) -> str:
    return f"{folder_of(copy.task_id)}/{copy.position}.{extension}"


@dataclass(frozen=True, slots=True)
class CopyCounts:
    """Waiting copies; `oldest_at` in milliseconds, None when nothing waits."""

    waiting: int
    oldest_at: int | None
