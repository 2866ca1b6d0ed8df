"""Case 3: callback to signed POST, flat out, to one subscriber and to ten."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.checks import check_deliveries, check_events
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, alone, world

TURNS = 2
PARALLEL = 64
TASKS_A_SECOND = 5000
# "Not below", with room for the noise of one round.
NOT_BELOW = ">= 0.95"
GOALS = {1: ">= 5000", 10: ">= 12000"}
PLACES = ("pinned", "two CPUs allowed")


@dataclass
class FanoutFigures:
    deliveries: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    acks: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)


def measure(run: BenchRun, case: int = 3) -> Iterator[ReportRow]:
    for subscribers in (1, 10):
        found = {place: FanoutFigures() for place in PLACES}
        for _ in range(run.options.rounds):
            one_round(run, found, subscribers)
        pinned = found["pinned"].deliveries
        for place, figures in found.items():
            base = [] if place == "pinned" else pinned
            yield from rows(case, f"to {subscribers}, {place}", figures, GOALS[subscribers], base)


def one_round(run: BenchRun, found: dict[str, FanoutFigures], subscribers: int) -> None:
    """In turn, and who is not measured stands still; the first is not always the same one."""
    folders = [run.options.folder / name for name in ("service", "without")]
    with world(run, folder=folders[0]) as pinned, world(run, folder=folders[1], pinned=False) as free:
        worlds = {"pinned": pinned, "two CPUs allowed": free}
        for place, one in worlds.items():
            for path in paths_of(place, subscribers):
                one.subscribe(path)
            one.fill(int(TURNS * (run.options.seconds + 0.2) * TASKS_A_SECOND))
        for turn in range(TURNS):
            for place in list(worlds) if turn % 2 else reversed(list(worlds)):
                with alone(worlds[place], worlds.values()):
                    flat_out(worlds[place], paths_of(place, subscribers), found[place], run.options.seconds)
        for place, one in worlds.items():
            check_events(one)
            check_deliveries(one, paths_of(place, subscribers))


def paths_of(place: str, subscribers: int) -> list[str]:
    return [f"/{place.split()[0]}-{number}" for number in range(subscribers)]


def flat_out(one: BenchService, paths: Sequence[str], figures: FanoutFigures, seconds: float) -> None:
    """As many callbacks as it takes, until all of them are delivered."""
    one.callbacks(0.2, parallel=PARALLEL)
    settled(one, paths)
    cpu, syncs = one.child.cpu_seconds(), one.fsyncs()
    result = one.callbacks(seconds, parallel=PARALLEL)
    end = settled(one, paths)
    cpu, after = one.child.cpu_seconds() - cpu, one.fsyncs()
    events = result.answered
    figures.deliveries.append(events * len(paths) / ((end - result.begun) / 1e9))
    figures.cpu_us.append(cpu / events * 1e6)
    figures.acks.append(result.rate)
    figures.p99.append(result.percentile(0.99))
    if after is not None and syncs is not None:
        figures.changes.append(events * (1 + len(paths)) / (after - syncs))


def settled(one: BenchService, paths: Sequence[str]) -> int:
    """The moment (ns) of the last delivery of all that was acknowledged so far."""
    return max(one.drained(path) for path in paths)


def rows(case: int, name: str, figures: FanoutFigures, goal: str, pinned: list[float]) -> Iterator[ReportRow]:
    # What is only acknowledged faster than it is delivered does not count: the time runs until the last delivery.
    if pinned:
        yield ReportRow(case, f"deliveries {name}", "/s", figures.deliveries, pinned, "pinned", NOT_BELOW)
    else:
        yield ReportRow(case, f"deliveries {name}", "/s", figures.deliveries, goal=goal)
    yield ReportRow(case, f"callbacks acknowledged {name}", "/s", figures.acks)
    yield ReportRow(case, f"  their p99 {name}", "ms", figures.p99)
    yield ReportRow(case, f"  CPU of an event {name}", "us", figures.cpu_us)
    if figures.changes:
        yield ReportRow(case, f"  changes in a commit {name}", "", figures.changes)
