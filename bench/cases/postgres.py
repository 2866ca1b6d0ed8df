"""Case 11: the service on PostgreSQL: so far what an idle one asks of its database."""

import time
from collections.abc import Iterator

import httpx

from bench.environment import environment
from bench.processes import SERVICE_CPU, Child, free_port, python
from bench.report import Row
from bench.run import Run
from service.tools.postgres import PostgresServer

START_SECONDS = 30.0
# After the start, until what it does once is done.
SETTLE_SECONDS = 3.0
# The server's own counts of a session are up to a second old.
WINDOW_SECONDS = 12.0
COUNT = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'idle'"


def measure(run: Run, case: int = 11) -> Iterator[Row]:
    folder = run.options.folder / "idle"
    folder.mkdir(exist_ok=True)
    # Durable, as SQLite is in the other cases.
    server = PostgresServer(folder / "postgres", settings=())
    server.create()
    server.start()
    try:
        server.sql("CREATE DATABASE idle")
        port = free_port()
        env = environment(run, folder, port, fsync_us=0) | {"DATABASE_URL": server.url("idle")}
        child = Child(python("service"), SERVICE_CPU, env, run.options.folder / "service.log")
        try:
            wait_until_ready(port)
            time.sleep(SETTLE_SECONDS)
            before, since = int(server.sql(COUNT)), time.monotonic()
            time.sleep(WINDOW_SECONDS)
            rate = (int(server.sql(COUNT)) - before) / (time.monotonic() - since)
        finally:
            child.stop()
    finally:
        server.stop()
    yield Row(case, "transactions of an idle service on PostgreSQL", "/s", [rate], goal="< 5")


def wait_until_ready(port: int) -> None:
    """Raises RuntimeError when the service is not ready in time."""
    end = time.monotonic() + START_SECONDS
    with httpx.Client() as http:
        while time.monotonic() < end:
            try:
                if http.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise RuntimeError("the service on PostgreSQL was not ready in time")
