"""The two sides of a copy: what a side must be able to do, on each engine.

Tables have the same names and columns on both engines; what differs is named in `run`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, Protocol

Row = tuple[Any, ...]
# At most so many rows in memory; one may be a megabyte.
AT_ONCE = 50


class LastNumbers(NamedTuple):
    """The last number given to each: never to be given again."""

    events: int
    deliveries: int
    workers: int


class Side(Protocol):
    async def columns(self, table: str) -> dict[str, str]:
        """Names and types; empty when there is no such table."""
        ...

    async def tables(self) -> list[str]: ...

    async def count(self, table: str) -> int: ...

    def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]: ...

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None: ...

    async def clear(self, table: str) -> None: ...

    async def numbers(self) -> LastNumbers: ...

    async def set_numbers(self, numbers: LastNumbers) -> None: ...

    async def commit(self) -> None: ...

    async def close(self) -> None:
        """Without `commit`, nothing was written."""
        ...
