"""Which errors of PostgreSQL are trouble with the server, and which a conflict between transactions."""

import asyncpg

# SQLSTATE classes: connection, resources, operator intervention, system; and a read-only server.
TROUBLE = ("08", "53", "57", "58")
READ_ONLY = "25006"
# The server ended the session, since this process stood still in a transaction.
STOOD_STILL = "25P03"
# Two transactions collided; repeated, both succeed.
CONFLICT = ("40001", "40P01", "55P03")


def is_trouble(error: BaseException) -> bool:
    """Whether the server or the network is at fault, not the statement."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(TROUBLE) or state in (READ_ONLY, STOOD_STILL)
    return isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError)


def is_conflict(error: BaseException) -> bool:
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in CONFLICT


def describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
