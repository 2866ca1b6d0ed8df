"""One connection to PostgreSQL, and one transaction on it."""

from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    OwnConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Connection: TypeAlias = OwnConnection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:  # the classes are not generic when they run
    OwnConnection = Connection = asyncpg.Connection
    Pool = asyncpg.Pool


class Unit:
    """One transaction. `xid`, when it is known, tells later whether it was committed."""

    __slots__ = ("connection", "xid")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.xid: str | None = None


async def begin(connection: Connection, *, durable: bool = True) -> None:
    await connection.execute("BEGIN" if durable else "BEGIN; SET LOCAL synchronous_commit = off")


async def roll_back(connection: Connection) -> None:
    with suppress(Exception):
        if not connection.is_closed():
            await connection.execute("ROLLBACK", timeout=1)


def cut(connection: Connection) -> None:
    """Close it without waiting for the server."""
    with suppress(asyncpg.InterfaceError):  # the pool has noticed that it is gone
        connection.terminate()
