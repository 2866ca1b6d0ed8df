"""Copies of result files: the work of the archive worker, where copies are kept, and where files come from."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from service.core.copies import CopyCounts, FileCopy, StoredFile
from service.core.result import Copy


class StoreTrouble(Exception):
    """The place where copies are kept is full or out of reach: nothing was kept, try again later.

    The text is a sentence without addresses and keys.
    """


class CopyMissing(Exception):
    """The place where copies are kept answers, and does not have this file."""


class CopyStore(Protocol):
    """A folder or a bucket. Names are relative, with slashes. Every method may raise StoreTrouble."""

    async def put(self, name: str, chunks: AsyncIterator[bytes], media_type: str, *, download: bool) -> None:
        """Keep all of `chunks` under `name`, or nothing: an error that they raise is raised again.

        Lasting when it returns. `download`: browsers are told to save the file, not to show it.
        """
        ...

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to and without `end`. Raises CopyMissing."""
        ...

    async def link(self, method: str, name: str, seconds: int) -> str | None:
        """An address at the store itself that opens this file for a while; None where there is no such thing."""
        ...

    async def delete(self, folder: str) -> None:
        """Everything under `folder`; it is no error when there is nothing."""
        ...

    async def probe(self) -> None:
        """Write a small file, read it back and delete it."""
        ...


class Download(Protocol):
    """A file on its way here, decoded. `path` is that of the address it came from in the end; `inline_name` is set for
    one that came inline."""

    path: str
    inline_name: str | None

    def chunks(self) -> AsyncIterator[bytes]:
        """Raises DownloadFailed."""
        ...


class DownloadFailed(Exception):
    """The file did not come whole. The text is a sentence that may be shown; `final`: it will never come."""

    def __init__(self, sentence: str, *, final: bool = False) -> None:
        super().__init__(sentence)
        self.final = final


class Downloader(Protocol):
    def open(self, url: str) -> AbstractAsyncContextManager[Download]:
        """Raises DownloadFailed."""
        ...


class CopyWork(Protocol):
    """Which files are to be copied: claimed work, like that of the other ports in `ports.work`."""

    async def claim(self, worker: int, now: int, limit: int) -> list[FileCopy]:
        """Copies that are due, those that have waited longest first; they belong to this worker from now on."""
        ...

    async def put_back(self, copy: FileCopy, next_attempt_at: int) -> None:
        """End the claim; it is due again then. `copy.attempts` is written too."""
        ...

    async def finish(self, copy: FileCopy, ended: Copy, file: StoredFile | None, now: int) -> bool:
        """Write the copy into its task, and `task.stored` when it was the task's last one, in one transaction.

        False: the claim is gone, and nothing changed.
        """
        ...

    async def next_due(self) -> int | None:
        """When the next one is due that nobody has in hand."""
        ...

    async def stored(self, task_id: str, position: int) -> StoredFile | None: ...

    async def stored_inline(self, inline_name: str) -> StoredFile | None:
        """A copy of the file that came inline under this name."""
        ...

    async def counts(self) -> CopyCounts: ...

    async def start(self, task_id: str, now: int) -> int:
        """Have the files of a task copied that completed without copies. Returns how many there are."""
        ...


class CopyRemovals(Protocol):
    """Tasks that were removed and whose copies are still to be deleted."""

    async def waiting(self, limit: int) -> list[str]:
        """Ids of such tasks, the oldest first."""
        ...

    async def done(self, task_ids: Sequence[str]) -> None: ...


class Copies(CopyWork, CopyRemovals, Protocol):
    """What a store keeps of copies."""
