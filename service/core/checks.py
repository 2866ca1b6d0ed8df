"""What a check of a task with its provider changes."""

from msgspec.structs import replace

from service.core.task import Task
from service.core.transitions import NOTHING, Decide, Decision, Timing, next_check
from service.core.update import Update, apply


def checked(update: Update, at: int, timing: Timing, *, attempt: int) -> Decide:
    """What the provider reported at `at` (ms); the check itself is noted only when it finishes the task."""
    decide = apply(update, timing, attempt=attempt, asked=True)

    def noted(task: Task) -> Decision:
        steps = decide(task)
        if not steps or not steps[-1][0].finished:
            return steps
        *before, (last, event) = steps
        return (*before, (last.with_check(at, outcome_of(update)), event))

    return noted


def rescheduled(update: Update | None, at: int, timing: Timing) -> Decide:
    """Note the check, and schedule the next one while the task is open. `update` None: nothing was learned."""

    def decide(task: Task) -> Decision:
        if task.finished:
            return NOTHING
        task = task.with_check(at, outcome_of(update))
        if update is None and task.doubts:
            # A check without a result is inconclusive too, and must not be repeated every two seconds.
            task = replace(task, doubts=task.doubts + 1)
        return ((replace(task, check_at=next_check(task, timing), checks=task.checks + 1), None),)

    return decide


def outcome_of(update: Update | None) -> str:
    if update is None:
        return "no answer about this task"
    status = update.status.value if update.status is not None else "still open"
    return f"{status} ({update.provider_status})" if update.provider_status not in (None, status) else status
