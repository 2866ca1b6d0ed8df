"""Log lines about the work: one for each finished task and each failed attempt."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from service.core.delivery import Delivery, DeliveryStatus
from service.core.errors import CallbridgeError
from service.core.task import Task
from service.core.times import to_iso
from service.ops.logs import Fields, write_lines
from service.ports.outlets import Outcome
from service.ports.store import TaskStore

log = logging.getLogger("callbridge.tasks")
# Finished tasks are written together: a record for each would cost a callback 3 % of its instructions.
FLUSH_SECONDS = 0.1
# Failed attempts whose task is being read for its request id; more than these are logged without one.
MOST_LOOKUPS = 100


class FinishedTasks:
    """One line for each task that this process finished."""

    def __init__(self, write: Callable[[Sequence[Fields]], None] = write_lines) -> None:
        self._write = write
        self._waiting: list[Task] = []
        self._timer: asyncio.TimerHandle | None = None

    def on_finish(self, finished: Sequence[Task]) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        self._waiting += finished
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tasks, self._waiting = self._waiting, []
        if tasks:
            self._write([_finished(task) for task in tasks])


def _finished(task: Task) -> Fields:
    at = task.finished_at or task.updated_at
    fields: Fields = {"time": to_iso(at), "level": "info", "message": f"task {task.status}"}
    if task.request_id is not None:
        fields["request_id"] = task.request_id
    fields |= {
        "task_id": task.id,
        "provider": task.provider,
        "status": str(task.status),
        "duration_ms": at - task.created_at,
    }
    return fields


class FailedAttempts:
    """An observer of failed attempts. Each line carries the request that submitted the task."""

    def __init__(self, tasks: TaskStore) -> None:
        self._tasks = tasks
        self._lookups: set[asyncio.Task[None]] = set()

    def attempted(self, delivery: Delivery, outcome: Outcome) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        if delivery.task_id is None or len(self._lookups) >= MOST_LOOKUPS:
            _log_failure(delivery, outcome, None)
            return
        lookup = asyncio.get_running_loop().create_task(self._log(delivery.task_id, delivery, outcome))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._lookups.discard)

    async def _log(self, task_id: str, delivery: Delivery, outcome: Outcome) -> None:
        try:
            task = await self._tasks.get(task_id)
        except CallbridgeError:
            task = None
        _log_failure(delivery, outcome, task)


def _log_failure(delivery: Delivery, outcome: Outcome, task: Task | None) -> None:
    attempt = outcome.attempt
    after = "dead after this attempt" if delivery.status is DeliveryStatus.DEAD else "will be tried again"
    # A status code says enough; other errors are in our own words.
    reason = f"{attempt.error.rstrip('.')}; " if attempt.status_code is None and attempt.error else ""
    log.info(
        "delivery failed: %s%s",
        reason,
        after,
        extra={
            "request_id": task.request_id if task else None,
            "task_id": delivery.task_id,
            "delivery_id": delivery.id,
            "subscription_id": delivery.subscription_id,
            "provider": task.provider if task else None,
            "status": attempt.status_code,
            "duration_ms": attempt.duration_ms,
        },
    )
