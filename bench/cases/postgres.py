"""Case 11: the service on PostgreSQL: so far what an idle one asks of its database."""

import time
from collections.abc import Iterator

from bench.databases import PostgresDatabase
from bench.report import Row
from bench.run import Run
from bench.world import world
from service.tools.postgres import PostgresServer

# After the start, until what it does once is done.
SETTLE_SECONDS = 3.0
# The server's own counts of a session are up to a second old.
WINDOW_SECONDS = 12.0
COUNT = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'idle'"


def measure(run: Run, case: int = 11) -> Iterator[Row]:
    # Durable, as SQLite is in the other cases.
    server = PostgresServer(run.options.folder / "postgres", settings=())
    server.create()
    server.start()
    try:
        with world(run, database=PostgresDatabase(server, "postgres").fresh("idle")):
            time.sleep(SETTLE_SECONDS)
            before, since = int(server.sql(COUNT)), time.monotonic()
            time.sleep(WINDOW_SECONDS)
            rate = (int(server.sql(COUNT)) - before) / (time.monotonic() - since)
    finally:
        server.stop()
    yield Row(case, "transactions of an idle service on PostgreSQL", "/s", [rate], goal="< 5")
