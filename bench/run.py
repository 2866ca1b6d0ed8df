"""What all cases share: the options, the sink, the bare application, prepared tasks, and what went wrong."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.processes import SERVICE_CPU, WORLD_CPU, Child, compile_c, python
from bench.tasks import PreparedTasks, prepare


@dataclass
class Options:
    cases: tuple[int, ...]
    seconds: float
    rounds: int
    quick: bool
    folder: Path


@dataclass
class BenchRun:
    options: Options
    sink: "SinkClient"
    bare: Child
    bare_port: int
    shim: Path | None
    complaints: list[str] = field(default_factory=list)
    # What the reader of the table should know, and which parts could not be run.
    notes: list[str] = field(default_factory=list)
    _prepared: PreparedTasks | None = None

    def prepared(self, count: int) -> PreparedTasks:
        if self._prepared is None or len(self._prepared.ids) < count:
            # A world that lives may still use the file of those before.
            self._prepared = prepare(count, self.options.folder / f"tasks-{count}.txt")
        return self._prepared

    def check(self, holds: bool, complaint: str) -> None:
        if not holds:
            self.complaints.append(complaint)


class SinkClient:
    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=self.url, timeout=60)

    def book(self) -> dict[str, dict[str, int]]:
        """By path: `count` of different events, `repeats`, and the moment of the `last` (ns)."""
        found: dict[str, dict[str, int]] = self._http.get("/-/book").json()
        return found

    def arrivals(self, path: str) -> dict[str, int]:
        """By webhook-id the moment (ns)."""
        found: dict[str, int] = self._http.get(f"/-/arrivals{path}").json()
        return found

    def close(self) -> None:
        self._http.close()

    def forget(self) -> None:
        self._http.get("/-/forget")


@contextmanager
def the_run(options: Options) -> Iterator[BenchRun]:
    options.folder.mkdir(parents=True, exist_ok=True)
    log = options.folder / "errors.log"
    sink, bare = Child(python("bench.sink"), WORLD_CPU, log=log), Child(python("bench.bare"), SERVICE_CPU, log=log)
    client = SinkClient(int(sink.line()))
    try:
        shim = compile_c(Path(__file__).with_name("fsync.c"), options.folder / "fsync.so")
        yield BenchRun(options, client, bare, int(bare.line()), shim)
    finally:
        client.close()
        sink.stop()
        bare.stop()
        tidy(options.folder)


def tidy(folder: Path) -> None:
    """Gigabytes of rows are of no use afterwards; what the processes said may be."""
    for item in folder.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        elif item.suffix != ".log":
            item.unlink()
