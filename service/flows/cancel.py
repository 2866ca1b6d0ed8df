"""Cancel a task: here at once, and at the provider where it supports that."""

import logging
from collections.abc import Mapping
from typing import Any

from service.core.errors import Conflict, NotFound
from service.core.points import Point
from service.core.result import Failure
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import Decide, Decision, Timing, announced
from service.ports.providers import ProviderClient, SubmitNotSent, SubmitUnclear
from service.ports.store import Store

log = logging.getLogger("callbridge.cancel")

# How long a canceled task that the provider continues counts against *_MAX_INFLIGHT, unless its end is reported.
PLACE_HELD_MS = 15 * 60 * 1000


class Canceler:
    def __init__(self, store: Store, clients: Mapping[str, ProviderClient], timing: Timing) -> None:
        self.store = store
        self.clients = clients
        self.timing = timing

    async def cancel(self, task: Task) -> Task:
        """Raises Conflict when it is finished. A result that arrives later still counts, because it was paid for."""
        if task.finished:
            raise Conflict(f"The task is already {task.status}.")
        client = self.clients.get(task.provider)
        warning = await _ask(client, task)
        # A held stream is closed, so the task occupies no slot at the provider.
        holds_place = client is not None and not client.streams(task)
        changed = await self.store.tasks.change(Point.CANCEL, task.id, canceled(warning, self.timing, holds_place))
        if changed is None:
            raise NotFound("There is no such task.")
        return changed


def canceled(warning: str | None, timing: Timing, holds_place: bool = True) -> Decide:
    """`warning`: the provider continues the task, which then occupies a slot there for a while (`holds_place`)."""

    def decide(task: Task) -> Decision:
        if task.finished:
            raise Conflict(f"The task is already {task.status}.")
        text = warning
        if text is None and task.status is S.QUEUED and task.sent_at is not None:
            text = f"The task was just being sent to {task.provider}; it may run to its end and be charged."
        warnings = (*task.warnings, text) if text else task.warnings
        error = Failure("canceled", "Canceled on request.")
        now = timing.now()
        place_until = min(now + PLACE_HELD_MS, task.deadline_at) if text and holds_place else None
        changes: dict[str, Any] = {"error": error, "progress": None, "finished_by_us": True, "warnings": warnings}
        return announced(task, task.moved(S.CANCELED, now, place_until=place_until, **changes))

    return decide


async def _ask(client: ProviderClient | None, task: Task) -> str | None:
    """A warning when the provider continues the task and may charge for it."""
    if task.status is S.QUEUED and task.sent_at is None:
        return None
    if client is None:
        return f"{task.provider} has no way to cancel this task; it may run to its end and be charged."
    try:
        return await client.cancel(task)
    except (SubmitNotSent, SubmitUnclear) as error:
        log.warning("cannot cancel at the provider: %s", error, extra={"task_id": task.id})
    return f"{task.provider} could not be reached to cancel the task; it may run to its end and be charged."
