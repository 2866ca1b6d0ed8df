"""Case 8: start, memory, and the cost of doing nothing."""

import time
from collections.abc import Iterator

from bench.checks import check_deliveries, check_events
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import world

STARTS = 5
REST_SECONDS = 2.0
LOAD_SECONDS = 5.0
PARALLEL = 64
TASKS_A_SECOND = 9000


def measure(run: BenchRun, case: int = 8) -> Iterator[ReportRow]:
    starts, rest, idle, loaded = [], [], [], []
    for count in range(STARTS):
        # The first start makes the file; the others find it, as a restart does.
        with world(run, keep=count > 0) as one:
            starts.append(one.start_seconds)
            if count < run.options.rounds:
                time.sleep(REST_SECONDS)
                rest.append(one.child.memory_mb())
                before, since = one.child.cpu_seconds(), time.monotonic()
                time.sleep(1 if run.options.quick else 5)
                idle.append((one.child.cpu_seconds() - before) / (time.monotonic() - since) * 100)
    for _ in range(run.options.rounds):
        with world(run) as one:
            one.subscribe("/subscriber")
            one.fill(int(LOAD_SECONDS * TASKS_A_SECOND))
            one.callbacks(1 if run.options.quick else LOAD_SECONDS, parallel=PARALLEL)
            one.drained("/subscriber")
            loaded.append(one.child.memory_mb("VmHWM"))
            check_events(one)
            check_deliveries(one, ["/subscriber"])
    yield ReportRow(case, "start to ready", "s", starts, goal="< 0.7")
    yield ReportRow(case, "memory at rest", "MB", rest, goal="< 60")
    yield ReportRow(case, "CPU at rest", "%", idle, goal="< 1")
    yield ReportRow(case, f"most memory, {PARALLEL} in parallel, one subscriber", "MB", loaded, goal="< 150")
