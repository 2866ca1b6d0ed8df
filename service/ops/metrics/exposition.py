"""Metrics in Prometheus' text format."""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.core.task import FINISHED, Status
from service.ops.metrics import recorder as names
from service.ops.metrics.tally import Tally
from service.ports.metrics import OpenWork

COUNTERS = {
    names.TASKS_FINISHED: ("Tasks that finished.", ("provider", "status")),
    names.CALLBACKS: ("Requests at the callback addresses.", ("provider", "result")),
    names.COPIES: ("Attempts to copy a result file; retried: will be retried, failed: was the last.", ("result",)),
    names.COPIED_BYTES: ("Bytes of result files that were copied.", ()),
    names.DELIVERIES: ("Delivery attempts; failed: will be retried, dead: was the last.", ("result",)),
}
HISTOGRAMS = {
    names.TASK_SECONDS: ("From the submit to the finish of a task.", ("provider",), names.TASK_BOUNDS),
    names.PROVIDER_SECONDS: (
        "Requests to a provider.",
        ("provider", "operation", "outcome"),
        names.REQUEST_BOUNDS,
    ),
    names.DELIVERY_LAG: ("From an event to the first attempt to deliver it.", (), names.LAG_BOUNDS),
    names.COMMIT_SECONDS: ("Commits of the store.", (), names.COMMIT_BOUNDS),
}


class Now(NamedTuple):
    """The gauges: the state at `moment` (milliseconds)."""

    moment: int
    work: OpenWork
    streams: int
    version: str


def exposition(tally: Tally, now: Now) -> tuple[bytes, str]:
    """The text and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(tally, now))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Families(Collector):
    def __init__(self, tally: Tally, now: Now) -> None:
        self._tally = tally
        self._now = now
        self._work = now.work

    def collect(self) -> Iterator[Metric]:
        yield self._open_tasks()
        yield from self._gauges()
        for name, (text, labels) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, count in self._tally.counts[name].items():
                counter.add_metric(values, count)
            yield counter
        for name, (text, labels, bounds) in HISTOGRAMS.items():
            yield self._histogram(name, text, labels, bounds)

    def _gauges(self) -> Iterator[Metric]:
        work = self._work
        yield _gauge("callbridge_deliveries_pending", "Deliveries that have not ended.", work.deliveries_pending)
        yield _gauge("callbridge_streams_open", "Server-sent event streams that are open now.", self._now.streams)
        build = GaugeMetricFamily("callbridge_build_info", "The running version.", labels=["version"])
        build.add_metric([self._now.version], 1)
        yield build
        yield _gauge(
            "callbridge_delivery_oldest_due_seconds",
            "How long the oldest due delivery has been due.",
            self._seconds_since(work.oldest_due_at),
        )
        copies = work.copies
        yield _gauge("callbridge_copies_pending", "Result files not copied yet.", copies.waiting)
        yield _gauge(
            "callbridge_copy_oldest_pending_seconds",
            "How long the oldest of them has been waiting.",
            self._seconds_since(copies.oldest_at),
        )

    def _seconds_since(self, moment: int | None) -> float:
        return 0.0 if moment is None else max(0, self._now.moment - moment) / 1000

    def _open_tasks(self) -> Metric:
        tasks = GaugeMetricFamily("callbridge_tasks", "Tasks that are not finished.", labels=["provider", "status"])
        providers = {provider for provider, _ in self._work.tasks}
        providers |= {values[0] for values in self._tally.counts[names.TASKS_FINISHED]}
        for provider in sorted(providers):
            for status in Status:
                if status not in FINISHED:
                    tasks.add_metric([provider, status.value], self._work.tasks.get((provider, status.value), 0))
        return tasks

    def _histogram(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> Metric:
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, distribution in self._tally.distributions[name].items():
            seen, buckets = 0, []
            for bound, count in zip([*map(str, map(float, bounds)), "+Inf"], distribution.counts, strict=True):
                seen += count
                buckets.append((bound, seen))
            family.add_metric(values, buckets, distribution.total)
        return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
