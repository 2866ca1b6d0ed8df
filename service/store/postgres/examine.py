"""What `doctor` checks in the database while the service runs; it leaves nothing behind."""

import time
from contextlib import suppress
from statistics import median
from typing import TYPE_CHECKING

import asyncpg

from service.store.errors import CannotOpen
from service.store.examination import Examination
from service.store.postgres.address import connect_arguments
from service.store.postgres.migrate import SQL
from service.store.schema import numbered_files, refuse_newer

if TYPE_CHECKING:
    from service.store.postgres.connection import OwnConnection

COMMITS = 5
SECONDS = 10.0


async def examine(url: str) -> Examination | None:
    """None for an empty database. Raises CannotOpen, SchemaFromTheFuture."""
    try:
        connection = await asyncpg.connect(
            **connect_arguments(url), timeout=SECONDS, command_timeout=SECONDS, statement_cache_size=0
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise CannotOpen(f"it cannot be reached ({type(error).__name__}); check DATABASE_URL and the server") from None
    try:
        return await _examine(connection)
    except (OSError, asyncpg.PostgresError) as error:
        raise CannotOpen(f"it cannot be read and written ({type(error).__name__}: {error})") from None
    finally:
        with suppress(OSError, TimeoutError, asyncpg.PostgresError):
            await connection.close(timeout=SECONDS)


async def _examine(connection: "OwnConnection") -> Examination | None:
    if await connection.fetchval("SELECT to_regclass('schema_version')") is None:
        return None
    version = int(await connection.fetchval("SELECT max(version) FROM schema_version") or 0)
    refuse_newer(version, len(numbered_files(SQL)))
    secret = await connection.fetchval("SELECT value FROM meta WHERE name = 'secret_key'")
    taken = []
    for _ in range(COMMITS):
        started = time.perf_counter()
        await connection.execute(
            "INSERT INTO meta (name, value) VALUES ('doctor', '') ON CONFLICT (name) DO UPDATE SET value = ''"
        )
        taken.append(time.perf_counter() - started)
    await connection.execute("DELETE FROM meta WHERE name = 'doctor'")
    rows = await connection.fetch("SELECT id FROM tasks WHERE status = 'unreadable' ORDER BY id LIMIT 100")
    return Examination(secret, median(taken), [f"task {row['id']}" for row in rows], [])
