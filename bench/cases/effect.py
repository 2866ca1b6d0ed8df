"""What a burden does: the figures of cases 1 to 3, with it and without it.

Both services live at once, and who is not measured stands still, so that the two figures of a pair are of one moment.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from bench.cases.fanout import Figures, flat_out
from bench.cases.latency import PATH, WAYS, held, percentile
from bench.checks import check_deliveries, check_events
from bench.report import Row
from bench.run import Run
from bench.world import World, alone, world

LEVELS = (1, 16, 64, 256)
RATES = (200, 1000)
SUBSCRIBERS = (1, 10)
WITHIN = 0.10
AT_LEAST, AT_MOST = f">= {1 - WITHIN:g}", f"< {1 + WITHIN:g}"
# More tasks than are called about in a second.
TASKS_A_SECOND = 5000


class Figure(NamedTuple):
    name: str
    unit: str
    goal: str = ""


@dataclass
class Effect:
    """The figures of one of the two, by round."""

    figures: dict[Figure, list[float]] = field(default_factory=dict)

    def rows(self, case: int, burden: str, without: "Effect") -> Iterator[Row]:
        for figure, found in self.figures.items():
            name, unit, goal = figure
            yield Row(case, f"{name}, {burden}", unit, found, without.figures[figure], "without", goal)


@dataclass
class Subject:
    """A world in which one subscriber, at `path`, is told everything."""

    one: World
    effect: Effect
    path: str = PATH
    # Subscribed for the last measurements only: the file may be used for another round.
    guests: list[str] = field(default_factory=list)

    def paths(self, subscribers: int) -> list[str]:
        return [self.path, *(f"{self.path}-{number}" for number in range(1, subscribers))]


@contextmanager
def without(run: Run, effect: Effect) -> Iterator[Subject]:
    """A service on an empty file."""
    with world(run, folder=run.options.folder / "without") as one:
        subject = Subject(one, effect, "/without")
        one.subscribe(subject.path)
        yield subject


Measure = Callable[[Subject], dict[Figure, float]]


def compare(subjects: Sequence[Subject]) -> None:
    """One round; each subject's tasks are filled here."""
    seconds = max(1.0, subjects[0].one.run.options.seconds / 2)
    for subject in subjects:
        subject.one.fill(int(seconds * (TASKS_A_SECOND * (len(LEVELS) + len(SUBSCRIBERS)) + sum(RATES))) + 4000)
    worlds = [subject.one for subject in subjects]
    for subject in subjects:
        with alone(subject.one, worlds):
            acknowledged(subject, level=16, seconds=0.3)
    for count, measure in enumerate(measures(seconds)):
        # The first of a pair is not always the same one.
        for subject in subjects if count % 2 else reversed(subjects):
            with alone(subject.one, worlds):
                found = measure(subject)
            for figure, value in found.items():
                subject.effect.figures.setdefault(figure, []).append(value)
    for subject in subjects:
        check_events(subject.one)
        check_deliveries(subject.one, subject.paths(max(SUBSCRIBERS)))
        for guest in subject.guests:
            subject.one.http.delete(f"/v1/subscriptions/{guest}").raise_for_status()
        subject.one.discard_open()


def measures(seconds: float) -> Iterator[Measure]:
    for level in LEVELS:
        yield partial(acknowledged, level=level, seconds=seconds)
    for rate in RATES:
        yield partial(latency, rate=rate, seconds=seconds)
    for subscribers in SUBSCRIBERS:
        yield partial(delivered, subscribers=subscribers)


def acknowledged(subject: Subject, level: int, seconds: float) -> dict[Figure, float]:
    """Case 1, but with the one subscriber."""
    result = subject.one.callbacks(seconds, parallel=level)
    subject.one.drained(subject.path)
    return {Figure(f"callbacks, {level} in parallel", "/s", AT_LEAST): result.rate}


def latency(subject: Subject, rate: int, seconds: float) -> dict[Figure, float]:
    """Case 2. The p99 of a second is too few calls to be held against a goal."""
    posts = held(subject.one, rate, seconds, subject.path).ways[WAYS[1]]
    return {
        Figure(f"callback to POST at {rate}/s: p50", "ms", AT_MOST): percentile(posts, 0.5),
        Figure(f"callback to POST at {rate}/s: p99", "ms"): percentile(posts, 0.99),
    }


def delivered(subject: Subject, subscribers: int) -> dict[Figure, float]:
    """Case 3."""
    paths = subject.paths(subscribers)
    subject.guests += [subject.one.subscribe(path) for path in paths[1:]]
    figures = Figures()
    flat_out(subject.one, paths, figures)
    return {Figure(f"deliveries to {subscribers}", "/s", AT_LEAST): figures.deliveries[0]}
