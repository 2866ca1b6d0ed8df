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


# A session that is idle in a transaction for so long is ended, with the locks that others wait for.
IDLE_IN_TRANSACTION_MS = 5000


class Unit:
    """One transaction. `xid`, when it is known, tells later whether it was committed. `proof` is a query for what it
    stores, with its values: a server that crashed may give the number of a lost transaction to another one."""

    __slots__ = ("connection", "proof", "xid")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.xid: str | None = None
        self.proof: tuple[str, *tuple[object, ...]] | None = None


async def begin(connection: Connection, *, durable: bool = True, then: str = "") -> None:
    """`then`: statements for the same round trip."""
    fast = "" if durable else "SET LOCAL synchronous_commit = off;"
    await connection.execute(
        f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}; {fast} {then}"
    )


async def roll_back(connection: Connection) -> None:
    with suppress(Exception):
        if not connection.is_closed():
            await connection.execute("ROLLBACK", timeout=1)


def cut(connection: Connection) -> None:
    """Close it without waiting for the server."""
    with suppress(asyncpg.InterfaceError):  # the pool has noticed that it is gone
        connection.terminate()
