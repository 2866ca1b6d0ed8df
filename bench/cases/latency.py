"""Case 2: from a callback to the signed POST at the subscriber and to a reader of the stream, at held rates."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.calls import EVENTS
from bench.checks import check_deliveries, check_events
from bench.order import Result
from bench.report import ReportRow
from bench.run import BenchRun
from bench.world import BenchService, world

RATES = (50, 200, 1000)
SHARES = ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))
GOALS = {(200, "p50"): "< 3", (200, "p99"): "< 8", (1000, "p99"): "< 15"}
PATH = "/subscriber"
WAYS = ("callback to response", "callback to POST", "callback to stream")


@dataclass
class Round:
    """Latencies in ms, sorted, by way; `sent` is the moment (ns) at which the callback of each event (seq) left."""

    ways: dict[str, list[float]] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    late_ms: float = 0.0


def measure(run: BenchRun, case: int = 2) -> Iterator[ReportRow]:
    seconds = max(2.0, run.options.seconds * 2)
    rounds: dict[int, list[Round]] = {rate: [] for rate in RATES}
    for _ in range(run.options.rounds):
        for rate in RATES:
            rounds[rate].append(one_round(run, rate, seconds))
    for rate, found in rounds.items():
        late = max(item.late_ms for item in found)
        for way in WAYS:
            for share, word in SHARES:
                goal = "" if way == WAYS[0] else GOALS.get((rate, word), "")
                note = f"the generator itself is up to {late:.1f} ms late (p99)" if goal and late > 2 else ""
                figures = [percentile(item.ways[way], share) for item in found]
                yield ReportRow(case, f"{way} at {rate}/s: {word}", "ms", figures, goal=goal, note=note)


def one_round(run: BenchRun, rate: int, seconds: float) -> Round:
    with world(run) as one:
        one.subscribe(PATH)
        one.fill(int((seconds + 0.2) * rate) + 1500)
        one.callbacks(0.2, parallel=16)
        one.drained(PATH)
        found = held_and_read(one, rate, seconds, PATH)
        check_events(one)
        check_deliveries(one, [PATH])
    return found


def held_and_read(one: BenchService, rate: int, seconds: float, path: str) -> Round:
    """Callbacks at this rate to the one subscriber at this path and to one reader of the stream."""
    streams = one.open_streams(["/v1/events"])
    found = held(one, rate, seconds, path)
    told = one.close_streams(streams)
    to_stream = [(told[seq].last - moment) / 1e6 for seq, moment in found.sent.items() if seq in told]
    one.run.check(len(to_stream) == len(found.sent), f"the stream told {len(to_stream)} of {len(found.sent)} events")
    found.ways[WAYS[2]] = sorted(to_stream)
    return found


def held(one: BenchService, rate: int, seconds: float, path: str) -> Round:
    """Callbacks at this rate to the one subscriber at this path."""
    first, seq = one.used, one.last_seq()
    result = one.callbacks(seconds, rate=rate, moments=True)
    one.drained(path)
    posts = one.run.sink.arrivals(path)
    left = departures(one, result, first)
    rows = one.database.ask("SELECT seq, id, task_id, type FROM events WHERE seq > ?", seq)
    found = Round(late_ms=result.late_ms)
    found.sent = {row[0]: left[row[2:]] for row in rows if row[2:] in left}
    to_post = [(posts[row[1]] - left[row[2:]]) / 1e6 for row in rows if row[2:] in left and row[1] in posts]
    found.ways = {WAYS[0]: result.latencies, WAYS[1]: sorted(to_post)}
    return found


def departures(one: BenchService, result: Result, first: int) -> dict[tuple[str, str], int]:
    """By task and event type the moment (ns) at which its callback left."""
    return {
        (one.task_id(first + index), event_type): moment
        for index, moments in enumerate(result.moments)
        for event_type, moment in zip(EVENTS, moments, strict=False)
    }


def percentile(figures: list[float], share: float) -> float:
    return figures[min(len(figures) - 1, int(len(figures) * share))]
