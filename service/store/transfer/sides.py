"""The two sides of a copy, whichever engine each is on.

Tables have the same names and columns on both engines; the exceptions are in `run`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, Protocol

Row = tuple[Any, ...]
# Rows in memory at once; one may be a megabyte.
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

    async def count(self, table: str) -> int: ...

    async def close(self) -> None:
        """Nothing was written unless it was committed."""
        ...


class SourceSide(Side, Protocol):
    async def tables(self) -> list[str]: ...

    def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]: ...

    async def numbers(self) -> LastNumbers: ...


class TargetSide(Side, Protocol):
    async def clear(self, table: str) -> None: ...

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None: ...

    async def set_numbers(self, numbers: LastNumbers) -> None: ...

    async def commit(self) -> None: ...
