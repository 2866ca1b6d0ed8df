"""Case 1: the callback door, durable, against a starlette application that only reads the body."""

from collections.abc import Iterator
from statistics import median

from bench.checks import check_events
from bench.order import LoadOrder, Result
from bench.processes import load
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, world

LEVELS = (1, 16, 64, 256)
SLOW_LEVELS = (64, 256)
SLOW_FSYNC_US = 5000
# Its goal of 0.6 leaves no room: uvicorn, a callback's SQL statements and the commit alone, with nothing read or
# decided, left 0.47 to 0.60 of bare starlette, and hardly more with leaner rows.
GOAL_LEVEL = 64
# Result of the machine on which the absolute goals of all cases were set.
GOALS_MADE_AT = 26_100
# More than the door can handle in a second; half as many tasks as callbacks.
TASKS_A_SECOND = 9000


def measure(run: BenchRun, case: int = 1) -> Iterator[ReportRow]:
    yield from ceiling(run, case)
    yield from ladder(run, case, LEVELS, 0, {GOAL_LEVEL: ">= 0.6"}, {GOAL_LEVEL: "< 15"}, "")
    if run.shim is not None:
        yield from ladder(run, case, SLOW_LEVELS, SLOW_FSYNC_US, {64: ">= 0.15"}, {}, ", fsync +5 ms")


def ceiling(run: BenchRun, case: int) -> Iterator[ReportRow]:
    """The load generator against the sink, both on one CPU: neither is what limits the other rows."""
    prepared = run.prepared(tasks_for(run, LEVELS))
    order = LoadOrder(run.sink.port, run.options.seconds, parallel=64, file=str(prepared.file))
    rates = [load(order).rate for _ in range(run.options.rounds)]
    yield ReportRow(case, "ceiling of the load generator and the sink together", "/s", rates)


def ladder(
    run: BenchRun,
    case: int,
    levels: tuple[int, ...],
    fsync_us: int,
    goals: dict[int, str],
    waits: dict[int, str],
    suffix: str,
) -> Iterator[ReportRow]:
    ours: dict[int, list[Result]] = {level: [] for level in levels}
    bare: dict[int, list[Result]] = {level: [] for level in levels}
    for _ in range(run.options.rounds):
        with world(run, fsync_us=fsync_us) as one:
            one.fill(tasks_for(run, levels))
            for level in levels:
                bare[level].append(against_bare(one, level))
                ours[level].append(one.callbacks(run.options.seconds, parallel=level))
            check_events(one)
    if not fsync_us and GOAL_LEVEL in bare:
        note_speed(run, median(one.rate for one in bare[GOAL_LEVEL]))
    for level in levels:
        rates, base = [one.rate for one in ours[level]], [one.rate for one in bare[level]]
        name = f"callbacks, {level} in parallel{suffix}"
        yield ReportRow(case, name, "/s", rates, base, "bare starlette", goals.get(level, ""))
        costs, theirs = [one.server_us for one in ours[level]], [one.server_us for one in bare[level]]
        yield ReportRow(case, f"{name}: CPU of one", "us", costs, theirs, "bare starlette")
        for share, word in ((0.5, "p50"), (0.99, "p99")):
            goal = waits.get(level, "") if word == "p99" else ""
            yield ReportRow(case, f"{name}: {word}", "ms", [one.percentile(share) for one in ours[level]], goal=goal)


def note_speed(run: BenchRun, made: float) -> None:
    run.notes.append(
        f"bare starlette made {made:,.0f}/s at {GOAL_LEVEL} in parallel; goals in numbers are from a machine where it"
        f" made {GOALS_MADE_AT:,}/s, {GOALS_MADE_AT / made:.1f} times as fast"
    )


def against_bare(one: BenchService, level: int) -> Result:
    order = one.order(one.run.options.seconds, parallel=level)
    order.port, order.first, order.count = one.run.bare_port, 0, 1_000_000
    return load(order, server=one.run.bare)


def tasks_for(run: BenchRun, levels: tuple[int, ...]) -> int:
    return int(len(levels) * run.options.seconds * TASKS_A_SECOND)
