"""Copies of result files: what is queued in the store, the storage for the files, and the downloads."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from service.core.copies import CopyCounts, FileCopy, StoredFile
from service.core.result import Copy


class StorageUnavailable(Exception):
    """The storage for copies is full or unreachable: nothing was written, try again later.

    The text is a sentence without addresses and keys.
    """


class CopyMissing(Exception):
    """The storage for copies works, and does not have this file."""


class CopyStorage(Protocol):
    """A folder or a bucket. Names are relative, with slashes. Every method may raise StorageUnavailable."""

    async def put(self, name: str, chunks: AsyncIterator[bytes], media_type: str, *, download: bool) -> None:
        """Write all of `chunks` under `name`, or nothing when reading them raises.

        Durable when it returns. `download`: browsers save the file instead of showing it.
        """
        ...

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`. Raises CopyMissing."""
        ...

    async def link(self, method: str, name: str, seconds: int) -> str | None:
        """A short-lived address of the file at the storage itself; None where there is no such thing."""
        ...

    async def delete(self, folder: str) -> None:
        """Delete everything under `folder`, if there is anything."""
        ...

    async def probe(self) -> None:
        """Write a small file, read it back and delete it."""
        ...


class Download(Protocol):
    """An open download, decoded. `path` is that of the final address; `inline_name` is set if the file came inline."""

    path: str
    inline_name: str | None

    def chunks(self) -> AsyncIterator[bytes]:
        """Raises DownloadFailed."""
        ...


class DownloadFailed(Exception):
    """The file did not arrive whole. The text is a sentence for users; `final`: trying again is no use."""

    def __init__(self, sentence: str, *, final: bool = False) -> None:
        super().__init__(sentence)
        self.final = final


class Downloader(Protocol):
    def open(self, url: str) -> AbstractAsyncContextManager[Download]:
        """Raises DownloadFailed."""
        ...


class CopyQueue(Protocol):
    """Files that wait to be copied, as claimed work."""

    async def owners_due(self, now: int) -> list[str]:
        """Owners of unclaimed copies that are due."""
        ...

    async def claim(self, worker: int, owner: str, now: int, limit: int) -> list[FileCopy]:
        """Copies of this owner that are due, the longest overdue first; this worker has them from now on."""
        ...

    async def put_back(self, copy: FileCopy, next_attempt_at: int) -> None:
        """End the claim; the copy is due again then. `copy.attempts` is stored too."""
        ...

    async def finish(self, copy: FileCopy, ended: Copy, file: StoredFile | None, now: int) -> bool:
        """Write the copy into its task, and `task.stored` with the last one of a task, in one transaction.

        False: the claim was lost, and nothing changed.
        """
        ...

    async def next_due(self) -> int | None:
        """When the next unclaimed copy is due."""
        ...


class StoredCopies(Protocol):
    async def stored(self, task_id: str, position: int) -> StoredFile | None: ...

    async def stored_inline(self, inline_name: str) -> StoredFile | None:
        """A copy of the file that came inline under this name."""
        ...


class CopyBacklog(Protocol):
    async def counts(self) -> CopyCounts: ...

    async def start(self, task_id: str, now: int) -> int:
        """Queue the files of a task that completed without copies. Returns how many there are."""
        ...


class CopyRemovals(Protocol):
    """Removed tasks whose copies are still to be deleted."""

    async def waiting(self, limit: int) -> list[str]:
        """Ids of such tasks, the oldest first."""
        ...

    async def done(self, task_ids: Sequence[str]) -> None: ...


class Copies(CopyQueue, StoredCopies, CopyBacklog, CopyRemovals, Protocol):
    """Everything that the store knows about copies."""
