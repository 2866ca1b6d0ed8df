"""Where bytes are kept and where they come from."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol


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
    """The body of a response, decoded; `path` is that of the address it came from in the end."""

    path: str

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
