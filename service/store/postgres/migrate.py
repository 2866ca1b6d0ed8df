"""Numbered SQL files, applied once and in order, under a lock, since several processes may start at once."""

from pathlib import Path

import asyncpg

from service.store.schema import numbered_files, refuse_newer

SQL = Path(__file__).parent / "sql"
# An arbitrary number for the advisory lock.
LOCK = 0x63616C6C


async def migrate(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Bring the database to the newest schema. Raises SchemaFromTheFuture."""
    files = numbered_files(SQL)
    version = await _version(connection)
    refuse_newer(version, len(files))
    if version == len(files):
        return
    # Before the transaction: waiting inside it would hide the tables that another process creates meanwhile.
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK, timeout=None)
    async with connection.transaction():
        version = await _version(connection)
        refuse_newer(version, len(files))
        for file in files[version:]:
            await connection.execute(file.read_text(), timeout=None)
        await connection.execute("UPDATE schema_version SET version = $1", len(files))
    await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)


async def _version(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    if await connection.fetchval("SELECT to_regclass('schema_version')") is None:
        return 0
    return int(await connection.fetchval("SELECT max(version) FROM schema_version") or 0)
