"""Case 4: tasks accepted, and the same tasks at the provider."""

import time
from collections.abc import Iterator

from bench.order import LoadOrder, Result
from bench.processes import load
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, world

PARALLEL = 64
HELD_RATE = 100
PATH = "/api/v1/task"
PATIENCE = 60.0


def measure(run: BenchRun, case: int = 4) -> Iterator[ReportRow]:
    accepted: list[Result] = []
    held: list[Result] = []
    reached: list[float] = []
    for _ in range(run.options.rounds):
        with world(run) as one:
            held.append(load(LoadOrder(one.port, run.options.seconds, "submits", rate=HELD_RATE)))
            at_provider(one, held[-1].answered)
            accepted.append(load(LoadOrder(one.port, run.options.seconds, "submits", PARALLEL)))
            total = held[-1].answered + accepted[-1].answered
            count, last = at_provider(one, total)
            reached.append((count - held[-1].answered) / ((last - accepted[-1].begun) / 1e9))
            check(one, total)
    name = f"tasks accepted, {PARALLEL} in parallel"
    yield ReportRow(case, name, "/s", [one.rate for one in accepted])
    yield ReportRow(case, f"{name}: p50", "ms", [one.percentile(0.5) for one in accepted])
    yield ReportRow(case, f"{name}: p99", "ms", [one.percentile(0.99) for one in accepted])
    yield ReportRow(case, "the same tasks at the provider", "/s", reached)
    yield ReportRow(case, f"task accepted at {HELD_RATE}/s: p50", "ms", [one.percentile(0.5) for one in held])
    yield ReportRow(case, f"task accepted at {HELD_RATE}/s: p99", "ms", [one.percentile(0.99) for one in held])


def at_provider(one: BenchService, count: int) -> tuple[int, int]:
    """How many came there and the moment (ns) of the last; waits for `count`."""
    end = time.monotonic() + PATIENCE
    while True:
        page = one.run.sink.book().get(PATH, {"count": 0, "last": time.monotonic_ns()})
        if page["count"] >= count or time.monotonic() > end:
            return page["count"], page["last"]
        time.sleep(0.05)


def check(one: BenchService, accepted: int) -> None:
    """Every accepted task is stored and was sent once."""
    sent = one.run.sink.book().get(PATH, {"count": 0})["count"]
    [(stored,)] = one.database.ask("SELECT count(*) FROM tasks")
    one.run.check(stored == accepted, f"{accepted} tasks were accepted, {stored} are stored")
    one.run.check(sent == accepted, f"{accepted} tasks were accepted, the provider got {sent} in {PATIENCE:.0f} s")
