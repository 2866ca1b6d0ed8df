"""Cancel a task: here at once, at the provider where it can be asked."""

import logging
from collections.abc import Mapping
from typing import Any

from service.core.errors import Conflict, NotFound
from service.core.points import Point
from service.core.result import Failure
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import Decide, Decision, Timing, tell
from service.ports import Provider, Sender, Store, SubmitNotSent, SubmitUnclear

log = logging.getLogger("callbridge.cancel")


class Canceler:
    def __init__(self, store: Store, providers: Mapping[str, Provider], sender: Sender, timing: Timing) -> None:
        self.store = store
        self.providers = providers
        self.sender = sender
        self.timing = timing

    async def cancel(self, task: Task) -> Task:
        """Raises Conflict when it is finished. A result that arrives later still counts: it was paid for."""
        if task.finished:
            raise Conflict(f"The task is already {task.status}.")
        warning = await _ask(self.providers.get(task.provider), self.sender, task)
        changed = await self.store.tasks.change(Point.CANCEL, task.id, canceled(warning, self.timing))
        if changed is None:
            raise NotFound("There is no such task.")
        return changed


def canceled(warning: str | None, timing: Timing) -> Decide:
    def decide(task: Task) -> Decision:
        if task.finished:
            raise Conflict(f"The task is already {task.status}.")
        told = warning
        if told is None and task.status is S.QUEUED and task.sent_at is not None:
            told = f"The task was just being sent to {task.provider}; it may run to its end and be charged."
        warnings = (*task.warnings, told) if told else task.warnings
        error = Failure("canceled", "Canceled on request.")
        changes: dict[str, Any] = {"error": error, "progress": None, "finished_by_us": True, "warnings": warnings}
        return tell(task, task.moved(S.CANCELED, timing.now(), **changes))

    return decide


async def _ask(provider: Provider | None, sender: Sender, task: Task) -> str | None:
    """A warning when the provider goes on with the task and may charge for it."""
    if task.status is S.QUEUED and task.sent_at is None:
        return None
    request = provider.cancel_request(task) if provider is not None else None
    if provider is None or request is None:
        return f"{task.provider} has no way to cancel this task; it may run to its end and be charged."
    try:
        refusal = provider.read_cancel(task, await sender.send(request))
    except (SubmitNotSent, SubmitUnclear) as error:
        log.warning("the provider could not be asked to cancel: %s", error, extra={"task_id": task.id})
        refusal = "it could not be reached"
    if refusal is None:
        return None
    return f"{task.provider} refused to cancel ({refusal}); the task may run to its end and be charged."
