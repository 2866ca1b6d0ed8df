"""The effect of a load on the service: the measurements of cases 1 to 3 with and without it.

Both services live at once, and who is not measured stands still, so that the two figures of a pair are of one moment.
Many short turns: the speed of a shared machine changes within seconds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.cases.fanout import FanoutFigures, flat_out
from bench.cases.latency import RATES, SHARES, WAYS, held_and_read, percentile
from bench.checks import check_deliveries, check_events
from bench.databases import Database
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, alone, world

TURNS = 2
LEVELS = (1, 16, 64, 256)
SUBSCRIBERS = (1, 10)
# A percentile means something only with this many calls beyond it.
BEYOND = 5
WITHIN = 0.10
AT_LEAST, AT_MOST = f">= {1 - WITHIN:g}", f"< {1 + WITHIN:g}"
# More tasks than are called about in a second.
TASKS_A_SECOND = 5000


class Figure(NamedTuple):
    name: str
    unit: str
    goal: str


@dataclass
class Effect:
    """Of one of the two: figures by turn, and the latencies (ms) of all turns together."""

    figures: dict[Figure, list[float]] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, unit: str, goal: str, value: float) -> None:
        self.figures.setdefault(Figure(name, unit, goal), []).append(value)

    def rows(self, case: int, burden: str, without: "Effect") -> Iterator[ReportRow]:
        for figure, found in self.figures.items():
            name, unit, goal = figure
            yield ReportRow(case, f"{name}, {burden}", unit, found, without.figures[figure], "without", goal)
        # A turn has too few calls for these; and no goal, since two equal services differ by more than it would allow.
        for name, latencies in self.latencies.items():
            for share, word in SHARES[1:]:
                if len(latencies) * (1 - share) < BEYOND:
                    continue
                figures = [[percentile(sorted(found), share)] for found in (latencies, without.latencies[name])]
                yield ReportRow(case, f"{name}: {word}, {burden}", "ms", figures[0], figures[1], "without")


@dataclass
class Subject:
    one: BenchService
    effect: Effect
    # Every subscriber that was ever told something, by its path.
    paths: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of one measurement; at a held rate twice as long."""
        return max(0.4, self.one.run.options.seconds / 4)

    def subscribe(self, count: int) -> list[str]:
        fresh = [f"/{self.one.folder.name}-{len(self.paths) + number}" for number in range(count)]
        for path in fresh:
            self.one.subscribe(path)
        self.paths += fresh
        return fresh


@contextmanager
def without(run: BenchRun, effect: Effect, database: Database | None = None) -> Iterator[Subject]:
    """A service on an empty file, or on this empty database."""
    with world(run, folder=run.options.folder / "without", database=database) as one:
        yield Subject(one, effect)


def compare(subjects: Sequence[Subject]) -> None:
    """One round; each subject's tasks are filled here."""
    flat_out_seconds = TURNS * subjects[0].seconds * (len(LEVELS) + 2 * len(SUBSCRIBERS)) + 1
    held_seconds = TURNS * subjects[0].seconds * 2
    for subject in subjects:
        subject.one.fill(int(flat_out_seconds * TASKS_A_SECOND + held_seconds * sum(RATES)))
        subject.one.callbacks(0.3, parallel=16)
    for turn in range(TURNS):
        # The first of a pair is not always the same one.
        one_turn(subjects if turn % 2 else subjects[::-1])
    for subject in subjects:
        check_events(subject.one)
        subject.one.discard_open()


def one_turn(subjects: Sequence[Subject]) -> None:
    for level in LEVELS:
        for subject in in_turn(subjects):
            acknowledged(subject, level)
    told = {id(subject): subject.subscribe(1) for subject in subjects}
    for rate in RATES:
        for subject in in_turn(subjects):
            latency(subject, rate, told[id(subject)][0])
    for subscribers in SUBSCRIBERS:
        for subject in in_turn(subjects):
            paths = told[id(subject)]
            paths += subject.subscribe(subscribers - len(paths))
            delivered(subject, paths)
    for subject in subjects:
        check_deliveries(subject.one, subject.paths)
        for path in told[id(subject)]:
            subject.one.unsubscribe(path)


def in_turn(subjects: Sequence[Subject]) -> Iterator[Subject]:
    for subject in subjects:
        with alone(subject.one, [each.one for each in subjects]):
            yield subject


def acknowledged(subject: Subject, level: int) -> None:
    """Case 1."""
    result = subject.one.callbacks(subject.seconds, parallel=level)
    subject.effect.add(f"callbacks, {level} in parallel", "/s", AT_LEAST, result.rate)
    subject.effect.add(f"callbacks, {level} in parallel: CPU of one", "us", AT_MOST, result.server_us)


def latency(subject: Subject, rate: int, path: str) -> None:
    """Case 2."""
    found = held_and_read(subject.one, rate, 2 * subject.seconds, path)
    for way in WAYS[1:]:
        name = f"{way} at {rate}/s"
        subject.effect.add(f"{name}: p50", "ms", AT_MOST, percentile(found.ways[way], 0.5))
        subject.effect.latencies.setdefault(name, []).extend(found.ways[way])


def delivered(subject: Subject, paths: Sequence[str]) -> None:
    """Case 3."""
    figures = FanoutFigures()
    flat_out(subject.one, paths, figures, subject.seconds)
    subject.effect.add(f"deliveries to {len(paths)}", "/s", AT_LEAST, figures.deliveries[0])
    subject.effect.add(f"deliveries to {len(paths)}: CPU of an event", "us", AT_MOST, figures.cpu_us[0])
