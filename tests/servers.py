"""One PostgreSQL for the whole run, started by whoever needs it first, and a database of its own for every test."""

import fcntl
import os
import shutil
import signal
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from service.tools.postgres import FAST, PostgresServer

FOLDER = "CALLBRIDGE_TEST_POSTGRES"
TEMPLATE = "template_of_tests"
# A file system in memory makes a database in a quarter of the time; the older ones are dropped, so it needs little.
MEMORY, MEMORY_NEEDED = Path("/dev/shm"), 1 << 30
KEPT_DATABASES = 4
_numbers = count()
_made: deque[str] = deque()


@cache
def postgres() -> PostgresServer:
    """The shared server; its template is a database at the newest schema."""
    folder = Path(os.environ[FOLDER])
    with _locked(folder):
        state = folder / "state"
        if state.exists():
            port = int(state.read_text().split()[0])
            return PostgresServer(folder / "server", port=port)
        server = PostgresServer(folder / "server", settings=(*FAST, "log_line_prefix='%d '"))
        server.create()
        server.start()
        server.sql(f"CREATE DATABASE {TEMPLATE}")
        for file in sorted((Path(__file__).parents[1] / "service/store/postgres/sql").glob("*.sql")):
            server.sql(file.read_text(), TEMPLATE)
            server.sql(f"UPDATE schema_version SET version = {int(file.name[:4])}", TEMPLATE)
        state.write_text(f"{server.port} {server.pid}")
        return server


def fresh_database() -> str:
    """The address of an empty database at the newest schema."""
    server = postgres()
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with _locked(Path(os.environ[FOLDER])):
        server.sql(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} {_strategy(server)}")
    _made.append(name)
    if len(_made) > KEPT_DATABASES:
        server.sql(f"DROP DATABASE {_made.popleft()} WITH (FORCE)")
    return server.url(name)


@cache
def _strategy(server: PostgresServer) -> str:
    """Files are copied faster than they are logged; before version 15 there was nothing to choose."""
    return "STRATEGY file_copy" if int(server.sql("SHOW server_version_num")) >= 150_000 else ""


def another_database(url: str) -> str:
    """Empty, on the same engine."""
    return url + ".new" if url.startswith("sqlite") else fresh_database()


async def rows(url: str, sql: str, *values: object) -> list[tuple[object, ...]]:
    """What another program than the service reads there; `sql` with $1, $2, ..."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
            return db.execute(sql.replace("$", "?"), values).fetchall()
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *values)]
    finally:
        await connection.close()


def start_of_run(config: pytest.Config) -> None:
    """In the first process only; the others have its folder in their environment."""
    if not hasattr(config, "workerinput"):
        import tempfile

        in_memory = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="callbridge-postgres-", dir=MEMORY if in_memory else None)


def end_of_run(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ[FOLDER])
    state = folder / "state"
    if state.exists():
        pid = int(state.read_text().split()[1])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
