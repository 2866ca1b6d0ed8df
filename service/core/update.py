"""What a provider reported about a task, and what that changes."""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from service.core.inline import InlineFile
from service.core.result import Failure, Output, Progress, Usage
from service.core.task import AT_PROVIDER, FINISHED, Status, Task
from service.core.times import to_iso
from service.core.transitions import CHECKS_IN_DOUBT, NOTHING, Decide, Decision, Timing, announced, next_check

# Seconds until the first check when the provider dropped our callback address.
SOON = 2.0
HOUR_MS = 3_600_000


class Update(Struct, frozen=True):
    """A provider's report in our terms. `status` None: the task is still open, and nothing else is known."""

    status: Status | None
    provider_task_id: str | None = None
    provider_status: str | None = None
    output: Output | None = None
    error: Failure | None = None
    usage: Usage | None = None
    progress: Progress | None = None
    # Files that came inline; the output refers to them by placeholders until they are stored.
    files: tuple[InlineFile, ...] = ()
    # How long the provider keeps the files of the output.
    kept_hours: int | None = None
    warnings: tuple[str, ...] = ()
    # The provider returned our callback address empty: it will not call, so check soon.
    callback_dropped: bool = False
    # The end is our reading of an unclear response, so a later result replaces it.
    inferred: bool = False
    # Inconclusive: check again before believing it.
    doubtful: bool = False


def apply(update: Update, timing: Timing, *, attempt: int | None = None, asked: bool = False) -> Decide:
    """`attempt` is the one the update is about, None the current one. `asked`: the update answers a check of ours."""

    def decide(task: Task) -> Decision:
        # A task that waits to be sent again is already at its next attempt.
        current = task.attempts + (task.status is Status.QUEUED and task.sent_at is None)
        if attempt is not None and attempt < current and update.status is not Status.COMPLETED:
            return NOTHING  # of an earlier attempt only a result counts, because it was paid for
        if update.doubtful and not task.finished:
            return _apply_doubtful(task, update, timing, asked)
        return _apply(task, update, timing)

    return decide


def _apply(task: Task, update: Update, timing: Timing) -> Decision:
    now = timing.now()
    if task.status is Status.QUEUED and update.status in (Status.PROCESSING, Status.COMPLETED):
        # The callback overtook the response to the submit, or that response was the result: it was submitted first.
        submitted = _move(task, replace(update, status=Status.SUBMITTED, output=None, progress=None), timing, now)
        return (*submitted, *_move(submitted[-1][0], update, timing, now))
    return _move(task, update, timing, now)


def _apply_doubtful(task: Task, update: Update, timing: Timing, asked: bool) -> Decision:
    """Keep the task open until a few checks agree; only then does an end count."""
    can_be_checked = bool(task.provider_task_id or update.provider_task_id)
    if update.status in FINISHED:
        if not can_be_checked or (asked and task.doubts >= len(CHECKS_IN_DOUBT)):
            return _apply(task, update, timing)
        update = replace(update, status=Status.SUBMITTED, output=None, error=None)
    steps = _apply(task, update, timing)
    if task.doubts and not asked:
        return steps  # the next check is scheduled already
    last, event_type = steps[-1] if steps else (task, None)
    last = replace(last, doubts=task.doubts + 1)
    last = replace(last, check_at=next_check(last, timing) if can_be_checked else last.check_at)
    return (*steps[:-1], (last, event_type))


def _move(task: Task, update: Update, timing: Timing, now: int) -> Decision:
    moved = updated(task, update, now)
    if moved is None:
        return NOTHING
    if moved.status in AT_PROVIDER and task.status not in AT_PROVIDER:
        wait = min(SOON, timing.sweep_after) if update.callback_dropped else timing.sweep_after
        moved = replace(
            moved, check_at=now + int(wait * 1000), checks=0, deadline_at=now + int(timing.task_deadline * 1000)
        )
    if timing.copies and moved.status is Status.COMPLETED and moved.output is not None:
        moved = replace(moved, output=moved.output.to_be_copied())
    return announced(task, moved)


def updated(task: Task, update: Update, now: int) -> Task | None:
    """The task after the update, or None when nothing changes."""
    finished = task.finished
    if finished and task.place_until is not None and update.status is Status.FAILED:
        # It was canceled here; now its slot at the provider is free too.
        return replace(task, place_until=None)
    if finished and _repeats(task, update):
        return None
    changes = _facts(task, update)
    status = update.status
    if status is not None and task.may_move_to(status):
        if status in FINISHED:
            changes |= {"output": update.output, "error": update.error, "progress": None}
            changes["finished_by_us"] = update.inferred
        if update.kept_hours is not None:
            changes |= _with_expiry(update, now)
        if update.usage is not None:
            changes["usage"] = update.usage
        return task.moved(status, now, **changes)
    if finished:
        return None
    if status is None and update.output is not None:
        changes |= {"output": update.output} | _with_expiry(update, now)
    if update.progress is not None and task.status is Status.PROCESSING and update.progress != task.progress:
        changes["progress"] = update.progress
    return replace(task, updated_at=now, **changes) if changes else None


def _repeats(task: Task, update: Update) -> bool:
    """Whether the update adds nothing to a finished task: the same result, or one inferred failure after another."""
    if task.status is Status.COMPLETED:
        return update.output is None or (task.output is not None and task.output.is_like(update.output))
    return update.inferred and update.status is Status.FAILED


def _facts(task: Task, update: Update) -> dict[str, Any]:
    """What the update adds whatever becomes of the status."""
    changes: dict[str, Any] = {}
    if update.provider_task_id and not task.provider_task_id:
        changes["provider_task_id"] = update.provider_task_id
    if update.provider_status is not None and update.provider_status != task.provider_status:
        changes["provider_status"] = update.provider_status
    if update.warnings:
        changes["warnings"] = task.warnings + tuple(w for w in update.warnings if w not in task.warnings)
    if update.progress is not None and update.status not in FINISHED:
        changes["progress"] = update.progress
    return changes


def _with_expiry(update: Update, now: int) -> dict[str, Any]:
    if update.kept_hours is None or update.output is None:
        return {}
    expires_at = now + update.kept_hours * HOUR_MS
    return {"expires_at": expires_at, "output": update.output.expiring(to_iso(expires_at))}
