"""What a burden does to callbacks and deliveries: the same three figures, taken with it and without it in turn."""

from collections.abc import Iterator

from bench.cases.fanout import PARALLEL, TASKS_A_SECOND, Figures, flat_out
from bench.cases.latency import PATH, WAYS, held, percentile
from bench.checks import check_deliveries, check_events
from bench.report import Row
from bench.world import World

RATE = 200
WITHIN = 0.10


class Effect:
    def __init__(self) -> None:
        self.flat = Figures()
        self.p50: list[float] = []
        self.p99: list[float] = []

    def take(self, one: World) -> None:
        """In a world with a subscriber at PATH, which must be filled here."""
        seconds = one.run.options.seconds
        one.fill(int((seconds + 0.2) * TASKS_A_SECOND + seconds * RATE))
        flat_out(one, [PATH], self.flat)
        posts = held(one, RATE, seconds).ways[WAYS[1]]
        self.p50.append(percentile(posts, 0.5))
        self.p99.append(percentile(posts, 0.99))
        check_events(one)
        check_deliveries(one, [PATH])

    def rows(self, case: int, name: str, without: "Effect") -> Iterator[Row]:
        at_least, at_most = f">= {1 - WITHIN:g}", f"< {1 + WITHIN:g}"
        base = "without"
        acks = f"callbacks, {PARALLEL} in parallel, {name}"
        yield Row(case, acks, "/s", self.flat.acks, without.flat.acks, base, at_least)
        yield Row(case, f"deliveries, {name}", "/s", self.flat.deliveries, without.flat.deliveries, base, at_least)
        post = f"callback to POST at {RATE}/s, {name}"
        yield Row(case, f"{post}: p50", "ms", self.p50, without.p50, base, at_most)
        yield Row(case, f"{post}: p99", "ms", self.p99, without.p99, base)
