"""Counts what the service reports to it."""

from collections.abc import Iterable, Sequence

from service.core.delivery import Delivery, DeliveryStatus
from service.core.ids import moment_of
from service.core.task import FINISHED, Task
from service.ops.metrics.tally import Tally
from service.ports.outlets import Outcome

TASKS_FINISHED = "callbridge_tasks_finished"
TASK_SECONDS = "callbridge_task_seconds"
CALLBACKS = "callbridge_callbacks"
PROVIDER_SECONDS = "callbridge_provider_request_seconds"
DELIVERIES = "callbridge_deliveries"
DELIVERY_LAG = "callbridge_delivery_lag_seconds"
COMMIT_SECONDS = "callbridge_commit_seconds"
COPIES = "callbridge_copies"
COPIED_BYTES = "callbridge_copied_bytes"
# Upper bounds of the buckets, in seconds.
TASK_BOUNDS = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
REQUEST_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600)
LAG_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600)
COMMIT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
RESULTS = {
    DeliveryStatus.DELIVERED: ("delivered",),
    DeliveryStatus.PENDING: ("failed",),
    DeliveryStatus.DEAD: ("dead",),
}
UNKNOWN = "unknown"


class MetricsRecorder:
    def __init__(self, tally: Tally, providers: Iterable[str]) -> None:
        self._tally = tally
        self._providers = frozenset(providers)
        # Counters on the path of every callback and delivery are looked up once.
        self._callbacks = tally.counts[CALLBACKS]
        self._finished = tally.counts[TASKS_FINISHED]
        self._deliveries = tally.counts[DELIVERIES]
        self._lag = tally.distribution(DELIVERY_LAG, LAG_BOUNDS)
        # Start at 0, so that a rate includes the first event.
        for labels in RESULTS.values():
            tally.count(DELIVERIES, *labels, by=0)
        for result in ("stored", "failed", "retried"):
            tally.count(COPIES, result, by=0)
        tally.count(COPIED_BYTES, by=0)
        for provider in self._providers:
            tally.count(CALLBACKS, provider, "accepted", by=0)
            for status in sorted(FINISHED):
                tally.count(TASKS_FINISHED, provider, str(status), by=0)

    def on_commit(self, seconds: float) -> None:
        self._tally.observe(COMMIT_SECONDS, COMMIT_BOUNDS, seconds)

    def on_finish(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._finished[task.provider, str(task.status)] += 1
            if task.submitted_at is not None and task.finished_at is not None:
                seconds = (task.finished_at - task.submitted_at) / 1000
                self._tally.observe(TASK_SECONDS, TASK_BOUNDS, seconds, task.provider)

    def on_callback(self, provider: str, result: str) -> None:
        """`provider` as the caller wrote it; unknown ones share one label, since their number is unbounded."""
        self._callbacks[provider if provider in self._providers else UNKNOWN, result] += 1

    def attempted(self, delivery: Delivery, outcome: Outcome) -> None:
        self._deliveries[RESULTS[delivery.status]] += 1
        if len(delivery.attempts) == 1:
            lag = max(0, outcome.attempt.at - moment_of(delivery.event_id)) / 1000
            self._lag.observe(LAG_BOUNDS, lag)

    def on_provider_request(self, provider: str, operation: str, outcome: str, seconds: float) -> None:
        self._tally.observe(PROVIDER_SECONDS, REQUEST_BOUNDS, seconds, provider, operation, outcome)

    def copied(self, size: int) -> None:
        self._tally.count(COPIES, "stored")
        self._tally.count(COPIED_BYTES, by=size)

    def failed_attempt(self, final: bool) -> None:
        self._tally.count(COPIES, "failed" if final else "retried")
