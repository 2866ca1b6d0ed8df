"""Where files that came inline are kept: a folder, or what all processes of a service share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple, Protocol


class Pieces(NamedTuple):
    """A file that is read piece by piece, from its beginning at each `read`."""

    size: int
    read: Callable[[], AsyncIterator[bytes]]


class InlineFiles(Protocol):
    """Names are the SHA-256 of the content with an extension, so the same bytes are kept once."""

    async def save(self, data: bytes, extension: str) -> str:
        """Return the file's name once it is durable. Raises Unavailable when it cannot be written now."""
        ...

    async def find(self, name: str) -> Path | Pieces | None: ...

    async def remove(self, name: str) -> None: ...

    async def remove_older(self, seconds: float) -> None:
        """Remove files that nothing was saved as for so long. Raises Unavailable."""
        ...
