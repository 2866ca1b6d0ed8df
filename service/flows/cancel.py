"""Cancel a task: here at once, at the provider where it can be asked."""

import logging

from service.core.errors import Conflict, NotFound
from service.core.points import Point
from service.core.task import Status as S
from service.core.task import Task, failure
from service.flows.moves import Timing, tell
from service.ports import Decision, Provider, Sender, Store, SubmitNotSent, SubmitUnclear

log = logging.getLogger("callbridge.cancel")


async def cancel(store: Store, provider: Provider | None, sender: Sender, timing: Timing, task: Task) -> Task:
    """Raises Conflict when it is finished. A result that arrives later still counts: it was paid for."""
    if task.finished:
        raise Conflict(f"The task is {task.status} already.")
    warning = await _ask(provider, sender, task)

    def decide(present: Task) -> Decision:
        if present.finished:
            raise Conflict(f"The task is {present.status} already.")
        warnings = (*present.warnings, warning) if warning else present.warnings
        return tell(
            present,
            present.moved(
                S.CANCELED,
                timing.now(),
                error=failure("canceled", "Canceled on request."),
                progress=None,
                finished_by_us=True,
                warnings=warnings,
            ),
        )

    changed = await store.tasks.change(Point.CANCEL, task.id, decide)
    if changed is None:
        raise NotFound("There is no such task.")
    return changed


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
        log.info("task %s: the provider could not be asked to cancel: %s", task.id, error)
        refusal = "it could not be reached"
    if refusal is None:
        return None
    return f"{task.provider} refused to cancel ({refusal}); the task may run to its end and be charged."
