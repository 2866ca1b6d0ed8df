"""Metrics, the log of finished tasks, and readiness."""

from collections.abc import Callable

from service import __version__
from service.assembly.delivering import Delivering
from service.assembly.foundation import Foundation
from service.assembly.submitting import Submitting
from service.core.times import now_ms
from service.flows.probe import SharedProbe
from service.ops.activity import FailedAttempts, FinishedTasks
from service.ops.metrics.recorder import MetricsRecorder
from service.ops.metrics.scrape import Present, Scrape
from service.ops.metrics.tally import Tally
from service.ops.readiness import Readiness


class Observing:
    def __init__(self, base: Foundation, submitting: Submitting, delivering: Delivering) -> None:
        self._base = base
        self.finished_tasks = FinishedTasks()
        tally = Tally()
        self.counters = MetricsRecorder(tally, submitting.providers)
        for client in submitting.clients.values():
            client.observers.append(self.counters.on_provider_request)
        delivering.attempts.observers.append(self.counters)
        delivering.attempts.failure_observers.append(FailedAttempts(base.store.tasks))
        self.scrape = Scrape(base.store.metrics, tally, self._present, __version__, now_ms)
        parts: dict[str, Callable[[], bool]] = {
            "submits": lambda: submitting.queues.alive,
            "sweep": lambda: submitting.sweeping,
            "lease": base.lease.valid,
            "store": lambda: base.store.trouble() is None,
            "stopping": lambda: not base.hub.closed,
        }
        self.readiness = Readiness(
            SharedProbe(base.store.ping),
            base.store.metrics,
            delivering.dispatcher,
            base.lease.watchdog.stuck,
            parts,
        )

    def _present(self) -> Present:
        return Present(self._base.lease.worker, self._base.hub.streams)

    def start(self) -> None:
        observers = self._base.store.observers
        observers.commit.append(self.counters.on_commit)
        observers.finish += [self.finished_tasks.on_finish, self.counters.on_finish]
