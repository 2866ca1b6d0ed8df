"""One service with a database of its own, as the cases use it."""

import os
import shutil
import signal
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import orjson

from bench.calls import API_KEY, EVENTS, callbacks
from bench.databases import BenchSqlite, Database
from bench.environment import FSYNCS, environment
from bench.order import LoadOrder, Result
from bench.processes import ALL_CPUS, SERVICE_CPU, Child, free_port, load, python, wait_until_ready
from bench.run import BenchRun
from bench.streams import Arrival
from bench.tasks import PreparedTasks

DATABASE = "bench.db"
DRAIN_SECONDS = 60.0


class BenchService:
    """A running service. `pinned`: on one CPU by our hand; else it may use all."""

    def __init__(
        self,
        run: BenchRun,
        folder: Path,
        *,
        database: Database | None = None,
        pinned: bool = True,
        fsync_us: int = 0,
        command: Sequence[str] = (),
        **settings: str,
    ) -> None:
        self.run = run
        self.folder = folder
        self.database: Database = database or BenchSqlite(folder / DATABASE)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.fsyncs_file = folder / FSYNCS
        self.fsyncs_file.write_bytes(bytes(8))
        self.cpus = SERVICE_CPU if pinned else ALL_CPUS
        started = time.monotonic()
        env = environment(run, folder, self.port, self.database, fsync_us=fsync_us) | settings
        log = run.options.folder / "service.log"
        self.child = Child(command or python("service"), self.cpus, env, log)
        self.http = httpx.Client(base_url=self.url, headers={"X-API-Key": API_KEY}, timeout=60)
        wait_until_ready(self.port, self.child, log)
        self.start_seconds = time.monotonic() - started
        # The next of the filled tasks and the end of them; callbacks that were acknowledged.
        self.used = self.filled_end = self.acknowledged = 0
        # How many of those came before a path was subscribed, and before it no longer was.
        self._before: dict[str, int] = {}
        self._until: dict[str, int] = {}
        self._subscriptions: dict[str, str] = {}
        self._filled: PreparedTasks | None = None
        # Not where attempts hang: a stop waits for them.
        self.patient = True
        # What was there before is not ours to count.
        self.seq_before = self.last_seq()
        self.deliveries_before = int(self.database.ask("SELECT coalesce(max(n), 0) FROM deliveries")[0][0])

    def close(self) -> None:
        self.http.close()
        if self.patient:
            self.child.stop()
        else:
            self.child.kill()

    # --- before a measurement ---

    def fill(self, count: int) -> None:
        """Fresh tasks at the provider, straight into the database: they cost no later round."""
        filled = self.run.prepared(count)
        first = self._present(filled)
        if first + count > len(filled.ids):
            # All others than before.
            filled, first = self.run.prepared(len(filled.ids) + count), 0
        tables = filled.tables(self.database)
        self.database.put((pattern, rows[first : first + count]) for pattern, rows in tables)
        os.sync()
        self._filled, self.used, self.filled_end = filled, first, first + count

    def _present(self, prepared: PreparedTasks) -> int:
        """How many of them an earlier world has put into this database: they are always taken from the front."""
        [(last,)] = self.database.ask(
            "SELECT max(id) FROM tasks WHERE id BETWEEN ? AND ?", prepared.ids[0], prepared.ids[-1]
        )
        return bisect_right(prepared.ids, last) if last else 0

    def discard_open(self) -> None:
        """At the end, when the database is used again: the next service would ask the provider about all of these."""
        never = "SELECT id FROM tasks WHERE finished_at IS NULL AND id < ?"
        for table, column in (("task_metadata", "task_id"), ("tasks", "id")):
            self.database.ask(f"DELETE FROM {table} WHERE {column} IN ({never})", self.task_id(self.filled_end - 1))

    def subscribe(self, path: str, url: str | None = None, events: Sequence[str] = EVENTS) -> str:
        answer = self.http.post(
            "/v1/subscriptions", json={"url": (url or self.run.sink.url) + path, "events": list(events)}
        )
        answer.raise_for_status()
        self._before[path] = self.acknowledged
        self._until.pop(path, None)
        self._subscriptions[path] = answer.json()["id"]
        return self._subscriptions[path]

    def unsubscribe(self, path: str) -> None:
        self.http.delete(f"/v1/subscriptions/{self._subscriptions[path]}").raise_for_status()
        self._until[path] = self.acknowledged

    def hush(self, path: str) -> None:
        """It stays subscribed, but to nothing that happens here."""
        answer = self.http.patch(f"/v1/subscriptions/{self._subscriptions[path]}", json={"events": ["task.canceled"]})
        answer.raise_for_status()

    def due(self, path: str) -> int:
        """Events that this path must be told."""
        return self._until.get(path, self.acknowledged) - self._before.get(path, 0)

    # --- measurement ---

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It costs nothing meanwhile."""
        self.child.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.child.process.send_signal(signal.SIGCONT)

    def callbacks(self, seconds: float, *, parallel: int = 0, rate: float = 0.0, moments: bool = False) -> Result:
        """Fresh tasks each time."""
        result = load(self.order(seconds, parallel=parallel, rate=rate, moments=moments), self.load_cpus, self.child)
        return self.took(result)

    def order(self, seconds: float, *, parallel: int = 0, rate: float = 0.0, moments: bool = False) -> LoadOrder:
        assert self._filled is not None
        left = self.filled_end - self.used
        file = str(self._filled.file)
        return LoadOrder(
            self.port, seconds, parallel=parallel, rate=rate, file=file, first=self.used, count=left, moments=moments
        )

    def took(self, result: Result) -> Result:
        self.used += result.tasks
        self.acknowledged += result.answered
        self.run.check(not result.refused, f"callbacks were refused: {result.refused}")
        self.run.check(not result.lost, f"{result.lost} callbacks were not answered")
        return result

    def task_id(self, number: int) -> str:
        """Of the n-th of the prepared tasks."""
        assert self._filled is not None
        return self._filled.ids[number]

    def requests(self, number: int) -> list[bytes]:
        """The two callbacks of the n-th task."""
        assert self._filled is not None
        return next(callbacks(self._filled.file, number, 1))

    def address(self, number: int) -> list[str]:
        """Of the n-th of the prepared tasks: the path of its callbacks, their secret, its id at the provider."""
        assert self._filled is not None
        with self._filled.file.open() as lines:
            return next(islice(lines, number, None)).split()

    def open_streams(self, paths: Sequence[str]) -> Child:
        """Readers of server-sent events, all of them connected."""
        child = Child(python("bench.streams"), self.load_cpus)
        assert child.process.stdin is not None
        child.process.stdin.write(orjson.dumps({"port": self.port, "paths": paths}) + b"\n")
        child.process.stdin.flush()
        child.line()
        return child

    def close_streams(self, child: Child) -> dict[int, Arrival]:
        """What came, by seq."""
        out, _ = child.process.communicate()
        told = orjson.loads(out)
        self.run.check(not told["lost"], f"{told['lost']} streams were cut")
        return {int(seq): Arrival(*values) for seq, values in told["arrivals"].items()}

    @property
    def load_cpus(self) -> Sequence[int]:
        """Where the service is not: it may have pinned itself."""
        if not hasattr(os, "sched_getaffinity"):
            return ALL_CPUS
        free = set(ALL_CPUS) - os.sched_getaffinity(self.child.pid)
        return tuple(free) or ALL_CPUS

    def fsyncs(self) -> int | None:
        """Since the start; each commit is one, and a checkpoint two or three."""
        return int.from_bytes(self.fsyncs_file.read_bytes(), "little") if self.run.shim else None

    def last_seq(self) -> int:
        return int(self.database.ask("SELECT coalesce(max(seq), 0) FROM events")[0][0])

    def drained(self, path: str) -> int:
        """Waits until every acknowledged event is at the path; the moment (ns) of the last, or of giving up."""
        end = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < end:
            page = self.run.sink.book().get(path)
            if page is not None and page["count"] >= self.due(path):
                return page["last"]
            time.sleep(0.05)
        return time.monotonic_ns()


@contextmanager
def alone(one: BenchService, among: Iterable[BenchService]) -> Iterator[None]:
    """The others stand still, so that figures of several can be taken in turn within one moment."""
    with ExitStack() as stopped:
        for other in among:
            if other is not one:
                stopped.enter_context(other.stopped())
        yield


@contextmanager
def world(
    run: BenchRun, *, folder: Path | None = None, keep: bool = False, copy_of: Path | None = None, **settings: Any
) -> Iterator[BenchService]:
    """A service on a fresh file, on a copy, or on the one that lies in `folder` (`keep`); the sink's book is empty."""
    folder = folder or run.options.folder / "service"
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    if copy_of is not None:
        shutil.copy(copy_of, folder / DATABASE)
        os.sync()
    run.sink.forget()
    one = BenchService(run, folder, **settings)
    try:
        yield one
    finally:
        one.close()
