"""Case 7: a million finished tasks in the file: reading them, writing beside them, and removing the old ones."""

import shutil
from collections.abc import Callable, Iterator

from bench import heaps
from bench.cases.effect import Effect, Subject, compare, without
from bench.order import LoadOrder
from bench.processes import load
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, world
from service.core.times import now_ms

# A task, its last event and the delivery of it, with all indexes; the copy and the write-ahead log come on top.
BYTES_A_TASK = 8000
KEEP_ALL = "36500"
KEEP_DAYS = 30
HOUR_MS = 3600 * 1000


def measure(run: BenchRun, case: int = 7) -> Iterator[ReportRow]:
    count = 100_000 if run.options.quick else 1_000_000
    if shutil.disk_usage(run.options.folder).free < count * BYTES_A_TASK:
        run.notes.append(f"case 7 is left out: {count:,} finished tasks need {count * BYTES_A_TASK >> 30} GiB of disk")
        return
    folder = heaps.history(run, count)
    yield ReportRow(case, f"file of {count:,} finished tasks", "MB", [(folder / "bench.db").stat().st_size / 1e6])
    plain, stored = Effect(), Effect()
    undisturbed, removing = Effect(), Effect()
    pages: dict[str, list[tuple[float, float]]] = {}
    removed: list[float] = []
    starts: list[float] = []
    for _ in range(run.options.rounds):
        with without(run, plain) as empty, world(run, folder=folder, keep=True, RETENTION_DAYS=KEEP_ALL) as one:
            starts.append(one.start_seconds)
            compare([empty, Subject(one, stored)])
            for name, path in paths(one).items():
                pages.setdefault(name, []).append(read(one, path))
        days = str(KEEP_DAYS)
        with without(run, undisturbed) as empty, world(run, folder=folder, keep=True, RETENTION_DAYS=days) as one:
            removed.append(while_removing(one, lambda: compare([empty, Subject(one, removing)])))
    shutil.rmtree(folder)
    yield ReportRow(case, f"start to ready beside {count:,} finished tasks", "s", starts, goal="< 1")
    yield from stored.rows(case, f"beside {count:,} finished tasks", plain)
    yield from removing.rows(case, "while old ones are removed", undisturbed)
    yield ReportRow(case, "old tasks removed meanwhile, of a second of CPU", "", removed)
    for name, found in pages.items():
        yield ReportRow(case, f"{name}: p50", "ms", [p50 for p50, _ in found])
        yield ReportRow(case, f"{name}: p99", "ms", [p99 for _, p99 in found])


def paths(one: BenchService) -> dict[str, str]:
    [(middle, seq)] = one.database.ask("SELECT max(n) / 2, (SELECT max(seq) / 2 FROM events) FROM tasks")
    [(cursor,)] = one.database.ask("SELECT id FROM tasks WHERE n >= ? LIMIT 1", middle)
    return {
        "newest 50 tasks": "/v1/tasks?limit=50",
        "50 tasks from the middle": f"/v1/tasks?limit=50&cursor={cursor}",
        "50 failed tasks of very many": "/v1/tasks?limit=50&status=failed",
        "tasks by metadata, none there": "/v1/tasks?limit=50&metadata.order=none",
        "tasks by metadata, all have it": "/v1/tasks?limit=50&metadata.shop=north",
        "tasks by provider, none there": "/v1/tasks?limit=50&provider=modelslab",
        "tasks by model, none there": "/v1/tasks?limit=50&model=none",
        "100 events from the middle": f"/v1/events?limit=100&after={seq}",
        "newest 50 deliveries": "/v1/deliveries?limit=50",
        "dead deliveries, none there": "/v1/deliveries?limit=50&status=dead",
    }


def read(one: BenchService, path: str) -> tuple[float, float]:
    """p50 and p99 in ms, one reader."""
    result = load(LoadOrder(one.port, min(1.0, one.run.options.seconds), path, parallel=1), one.load_cpus)
    one.run.check(not result.refused, f"GET {path} was answered {result.refused}")
    if result.lost:
        one.run.notes.append(f"GET {path} took longer than {result.seconds:.0f} s")
        return result.seconds * 1000, result.seconds * 1000
    return result.percentile(0.5), result.percentile(0.99)


def while_removing(one: BenchService, meanwhile: Callable[[], None]) -> float:
    """How many old tasks went in a second of the work. The young ones must all stay."""
    border = now_ms() - KEEP_DAYS * 24 * HOUR_MS
    last = count(one, "max(n)", "1")
    young, old = f"finished_at > {border + HOUR_MS} AND n <= {last}", f"finished_at < {border}"
    stay, before, since = count(one, "count(*)", young), count(one, "count(*)", old), one.child.cpu_seconds()
    meanwhile()
    gone = before - count(one, "count(*)", old)
    left = count(one, "count(*)", young)
    one.run.check(left == stay, f"{stay - left} tasks were removed that were not old enough")
    return gone / (one.child.cpu_seconds() - since)


def count(one: BenchService, what: str, where: str) -> int:
    return int(one.database.ask(f"SELECT {what} FROM tasks WHERE {where}")[0][0])
