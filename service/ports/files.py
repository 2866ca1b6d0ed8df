"""Storage for files that came inline: a folder, or the database that all processes share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple, Protocol


class Pieces(NamedTuple):
    """A file in pieces; each `read` starts from the beginning."""

    size: int
    read: Callable[[], AsyncIterator[bytes]]


class InlineFiles(Protocol):
    """Names are the SHA-256 of the content with an extension, so the same bytes are stored once."""

    async def save(self, data: bytes, extension: str) -> str:
        """Returns the name once the file is durable. Raises Unavailable when it cannot be written now."""
        ...

    async def find(self, name: str) -> Path | Pieces | None: ...

    async def remove(self, name: str) -> None: ...

    async def remove_older(self, seconds: float) -> None:
        """Remove files that were not saved again for so long. Raises Unavailable."""
        ...
