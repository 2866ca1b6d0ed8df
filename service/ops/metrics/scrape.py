"""GET /metrics: the counts of all processes, one query for what is open now, in the text format of Prometheus."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.core.errors import CallbridgeError
from service.core.task import FINISHED, Status
from service.ops.metrics import recorder as names
from service.ops.metrics.tally import Tally
from service.ports.metrics import MetricsStore, OpenWork

# The query walks everything that is open: after it a rest of so many times what it took, and at least a second.
REST, SHORTEST_REST = 20, 1.0
# Other processes see what this one counted so much later.
PUBLISH_SECONDS = 0.5
COUNTERS = {
    names.TASKS_FINISHED: ("Tasks that finished.", ("provider", "status")),
    names.CALLBACKS: ("Calls at the provider doors.", ("provider", "result")),
    names.COPIES: ("Attempts to copy a result file; retried: will be tried again, failed: was the last.", ("result",)),
    names.COPIED_BYTES: ("Bytes of result files that were copied.", ()),
    names.DELIVERIES: ("Attempts to deliver; failed: will be tried again, dead: was the last.", ("result",)),
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


class Present(NamedTuple):
    """This process now: its number as a worker, and the streams that it serves."""

    worker: int
    streams: int


class Scrape:
    def __init__(
        self,
        store: MetricsStore,
        tally: Tally,
        present: Callable[[], Present],
        version: str,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._tally = tally
        self._present = present
        self._version = version
        self._now = now
        self._open: OpenWork | None = None
        self._not_before = 0.0

    async def __call__(self) -> tuple[bytes, str]:
        """The text and its content type. Raises Unavailable."""
        total = Tally()
        total.add(self._tally.encoded())
        worker, own_streams = self._present()
        others, streams = await self._store.published_by_others(worker)
        for counts in others:
            total.add(counts)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families(total, await self._open_work(), self._gauges(streams + own_streams)))
        return generate_latest(registry), CONTENT_TYPE_LATEST

    async def keep_publishing(self) -> None:
        last = b""
        while True:
            await asyncio.sleep(PUBLISH_SECONDS)
            worker, streams = self._present()
            present = self._tally.encoded() + b" %d %d" % (worker, streams)
            if present != last:
                with suppress(CallbridgeError):
                    await self.publish()
                    last = present

    async def publish(self) -> None:
        """For the scrapes that other processes answer. Raises Unavailable."""
        worker, streams = self._present()
        await self._store.publish(worker, self._tally.encoded(), streams)

    async def _open_work(self) -> OpenWork:
        started = time.monotonic()
        if self._open is None or started >= self._not_before:
            self._open = await self._store.open_work(self._now())
            ended = time.monotonic()
            self._not_before = ended + max(SHORTEST_REST, REST * (ended - started))
        return self._open

    def _gauges(self, streams: int) -> Iterable[Metric]:
        yield _gauge("callbridge_streams_open", "Server-sent event streams that are open now.", streams)
        build = GaugeMetricFamily("callbridge_build_info", "The version that runs.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        if self._open is not None:
            due = self._open.oldest_due_at
            late = 0.0 if due is None else max(0, self._now() - due) / 1000
            yield _gauge(
                "callbridge_delivery_oldest_due_seconds", "For how long the oldest due delivery has been due.", late
            )
            copies = self._open.copies
            yield _gauge("callbridge_copies_pending", "Result files that are not copied yet.", copies.waiting)
            waits = 0.0 if copies.oldest_at is None else max(0, self._now() - copies.oldest_at) / 1000
            yield _gauge("callbridge_copy_oldest_pending_seconds", "For how long the oldest of them waits.", waits)


class _Families(Collector):
    def __init__(self, tally: Tally, work: OpenWork, gauges: Iterable[Metric]) -> None:
        self._tally = tally
        self._work = work
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        yield self._open_tasks()
        yield _gauge("callbridge_deliveries_pending", "Deliveries that are not done.", self._work.deliveries_pending)
        yield from self._gauges
        for name, (text, labels) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, count in self._tally.counts[name].items():
                counter.add_metric(values, count)
            yield counter
        for name, (text, labels, bounds) in HISTOGRAMS.items():
            yield self._histogram(name, text, labels, bounds)

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
