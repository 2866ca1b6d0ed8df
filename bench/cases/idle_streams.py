"""Case 5: thousands of open streams: their memory, one event to all of them, and their cost to callbacks."""

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.checks import check_events
from bench.processes import send
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, alone, world

PARALLEL = 64
TASKS_A_SECOND = 6000
PUSHES = 5
TURNS = 2
GOALS = {10_000: ("< 256", "< 0.4", ">= 0.9")}
# Files beside the streams: database, listeners, the load.
SPARE_FILES = 600


@dataclass
class Pairs:
    beside: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)


@dataclass
class StreamFigures:
    all_mb: list[float] = field(default_factory=list)
    each_kb: list[float] = field(default_factory=list)
    pushed: list[float] = field(default_factory=list)
    # Callbacks a second: beside the streams, and without any in the same moment.
    of_tasks: Pairs = field(default_factory=Pairs)
    of_account: Pairs = field(default_factory=Pairs)


def measure(run: BenchRun, case: int = 5) -> Iterator[ReportRow]:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for streams in (1000,) if run.options.quick else (1000, 10_000):
        if streams + SPARE_FILES > files:
            run.notes.append(f"case 5: {streams} streams need more open files than {files}: raise `ulimit -Hn`")
            continue
        figures = StreamFigures()
        for _ in range(run.options.rounds):
            one_round(run, streams, figures)
        memory, push, effect = GOALS.get(streams, ("", "", ">= 0.9"))
        yield ReportRow(case, f"memory with {streams:,} streams, all of it", "MB", figures.all_mb, goal=memory)
        yield ReportRow(case, f"memory of one of {streams:,} streams", "KB", figures.each_kb)
        yield ReportRow(case, f"one event to all of {streams:,}", "s", figures.pushed, goal=push)
        name, base = f"callbacks, {PARALLEL} in parallel, beside {streams:,} streams", "without"
        for whose, pairs in (("single tasks", figures.of_tasks), ("the account", figures.of_account)):
            yield ReportRow(case, f"{name} of {whose}", "/s", pairs.beside, pairs.without, base, effect)


def one_round(run: BenchRun, streams: int, figures: StreamFigures) -> None:
    with world(run, folder=run.options.folder / "without") as empty, world(run) as one:
        for each in (empty, one):
            each.fill(int(run.options.seconds * TASKS_A_SECOND * (TURNS * 2 + 1)))
            rate(each)
        tasks = [f"/v1/tasks/{one.task_id(one.filled_end - 1 - n)}/events" for n in range(streams)]
        compare(one, empty, tasks, figures.of_tasks)
        # They are considered for every event and match none.
        compare(one, empty, ["/v1/events?types=ping"] * streams, figures.of_account)
        check_events(one)
        check_events(empty)
    with world(run) as one:
        one.fill(PUSHES)
        before = one.child.memory_mb()
        readers = one.open_streams(["/v1/events"] * streams)
        time.sleep(0.5)
        figures.all_mb.append(one.child.memory_mb())
        figures.each_kb.append((figures.all_mb[-1] - before) * 1024 / streams)
        sent = [push(one, number) for number in range(PUSHES)]
        told = one.close_streams(readers)
        run.check(len(told) == PUSHES, f"{PUSHES} events were told to the streams, {len(told)} came")
        slowest = sorted((told[seq].last - moment) / 1e9 for seq, moment in zip(sorted(told), sent, strict=False))
        figures.pushed.append(slowest[len(slowest) // 2])
        for seq, arrival in told.items():
            run.check(arrival.count == streams, f"event {seq} came to {arrival.count} of {streams} streams")


def rate(one: BenchService) -> float:
    return one.callbacks(one.run.options.seconds, parallel=PARALLEL).rate


def compare(one: BenchService, empty: BenchService, paths: list[str], pairs: Pairs) -> None:
    """In turn, and who is not measured stands still."""
    readers = one.open_streams(paths)
    for _ in range(TURNS):
        for each, found in ((empty, pairs.without), (one, pairs.beside)):
            with alone(each, (empty, one)):
                found.append(rate(each))
    one.close_streams(readers)


def push(one: BenchService, number: int) -> int:
    """One callback, and time for it to reach everybody; the moment (ns) at which it left."""
    processing, _ = one.requests(one.used + number)
    left = send(one.port, processing)
    time.sleep(1.0)
    return left
