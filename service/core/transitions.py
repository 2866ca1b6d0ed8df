"""What a provider's word does to a task: shared by the submit's answer, the callback, the sweep and the held stream."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from service.core.result import Failure
from service.core.task import AT_PROVIDER, FINISHED, Task, Update
from service.core.task import Status as S

# A decision about a task, made inside the transaction: the moves it makes, each the task after it and the event to
# tell (None: tell nobody). Empty leaves everything as it is. It must be pure; it may raise to refuse.
Step = tuple[Task, str | None]
Decision = Sequence[Step]
Decide = Callable[[Task], Decision]

# Seconds until the first question when the provider dropped our callback address.
SOON = 2.0
LONGEST_GAP = 3600.0
# Seconds until each further question about words that settle nothing, such as "completed" without a result.
DOUBT_GAPS = (2.0, 10.0, 60.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `now` gives milliseconds. `copies`: the files of results are copied before the provider deletes them."""

    sweep_after: float
    task_deadline: float
    now: Callable[[], int]
    copies: bool = False


NOTHING: Decision = ()


def tell(before: Task, after: Task) -> Decision:
    """The move and the event it makes; progress while processing is told too."""
    if after.status is not before.status or (after.status is S.PROCESSING and after.progress != before.progress):
        return ((after, f"task.{after.status}"),)
    return ((after, None),)


def apply(update: Update, timing: Timing, *, attempt: int | None = None, asked: bool = False) -> Decide:
    """`attempt` is the one the update is about; None: the present one. `asked`: it answers a question of ours."""

    def decide(task: Task) -> Decision:
        # What waits to be sent again counts as the next attempt.
        present = task.attempts + (task.status is S.QUEUED and task.sent_at is None)
        if attempt is not None and attempt < present and update.status is not S.COMPLETED:
            return NOTHING  # an earlier attempt: only a result still counts, because it was paid for
        if update.doubtful and not task.finished:
            return _doubted(task, update, timing, asked)
        return _told(task, update, timing)

    return decide


def _told(task: Task, update: Update, timing: Timing) -> Decision:
    now = timing.now()
    if task.status is S.QUEUED and update.status in (S.PROCESSING, S.COMPLETED):
        # The callback was faster than the submit's answer, or the answer was the result: it was submitted first.
        submitted = _move(task, replace(update, status=S.SUBMITTED, output=None, progress=None), timing, now)
        return (*submitted, *_move(submitted[-1][0], update, timing, now))
    return _move(task, update, timing, now)


def _doubted(task: Task, update: Update, timing: Timing, asked: bool) -> Decision:
    """The task stays open until the provider was asked again a few times; only then an end counts."""
    can_be_asked = bool(task.provider_task_id or update.provider_task_id)
    if update.status in FINISHED:
        if not can_be_asked or (asked and task.doubts >= len(DOUBT_GAPS)):
            return _told(task, update, timing)
        update = replace(update, status=S.SUBMITTED, output=None, error=None)
    steps = _told(task, update, timing)
    if task.doubts and not asked:
        return steps  # the next question is on its way
    last, event_type = steps[-1] if steps else (task, None)
    last = replace(last, doubts=task.doubts + 1)
    last = replace(last, check_at=next_check(last, timing) if can_be_asked else last.check_at)
    return (*steps[:-1], (last, event_type))


def _move(task: Task, update: Update, timing: Timing, now: int) -> Decision:
    moved = task.updated(update, now)
    if moved is None:
        return NOTHING
    if moved.status in AT_PROVIDER and task.status not in AT_PROVIDER:
        wait = min(SOON, timing.sweep_after) if update.callback_dropped else timing.sweep_after
        moved = replace(
            moved, check_at=now + int(wait * 1000), checks=0, deadline_at=now + int(timing.task_deadline * 1000)
        )
    if timing.copies and moved.status is S.COMPLETED and moved.output is not None:
        moved = replace(moved, output=moved.output.to_be_copied())
    return tell(task, moved)


def next_check(task: Task, timing: Timing) -> int:
    """Growing gaps, capped at an hour; soon while the provider's words settle nothing."""
    if 0 < task.doubts <= len(DOUBT_GAPS):
        return timing.now() + int(DOUBT_GAPS[task.doubts - 1] * 1000)
    gap = min(timing.sweep_after * 2**task.checks, max(LONGEST_GAP, timing.sweep_after))
    return timing.now() + int(gap * 1000)


def fail(code: str, message: str, timing: Timing, *, by_us: bool) -> Decide:
    """A failure that we state. `by_us`: our own guess, which gives way to a later result."""

    def decide(task: Task) -> Decision:
        if task.finished:
            return NOTHING
        return tell(
            task,
            task.moved(S.FAILED, timing.now(), error=Failure(code, message), progress=None, finished_by_us=by_us),
        )

    return decide


def unconfirmed(reason: str, timing: Timing) -> Decide:
    """The request was perhaps sent: wait for the callback, look in the history, never send again."""

    def decide(task: Task) -> Decision:
        if task.status is not S.QUEUED:
            return NOTHING
        now = timing.now()
        return tell(
            task,
            task.moved(
                S.UNCONFIRMED,
                now,
                warnings=(*task.warnings, reason),
                check_at=now + int(timing.sweep_after * 1000),
                checks=0,
                deadline_at=now + int(timing.task_deadline * 1000),
            ),
        )

    return decide


def claimed(task: Task, worker: int, now: int) -> Task:
    """As it is from now on being sent: if nothing more is heard of the worker, it was perhaps sent."""
    return replace(task, sent_at=now, attempts=task.attempts + 1, worker=worker, updated_at=now)


def under_claim(claim: Task, decide: Decide, *, end: bool = False) -> Decide:
    """`decide` only while the claim stands: a worker that lost its lease changes nothing any more.

    `claim` is the task as it was claimed; `end` ends the claim with this decision.
    """

    def decided(task: Task) -> Decision:
        if task.worker != claim.worker or task.attempts != claim.attempts:
            return NOTHING
        steps = decide(task)
        if not end:
            return steps
        last, event_type = steps[-1] if steps else (task, None)
        return (*steps[:-1], (replace(last, worker=None), event_type))

    return decided


def given_back(claim: Task) -> Decide:
    """Surely not sent: it waits again."""

    def decide(task: Task) -> Decision:
        if task.status is not S.QUEUED or task.sent_at is None:
            return NOTHING
        return ((replace(task, sent_at=None, attempts=task.attempts - 1, worker=None), None),)

    return under_claim(claim, decide)


def lost(streamed: bool, timing: Timing) -> Decide:
    """Of a task whose worker is gone: it was being sent, or its stream was held."""

    def decide(task: Task) -> Decision:
        if task.worker is None or task.finished:
            return NOTHING
        if streamed:
            text = "The service ended while it held this stream; the provider may have charged for it."
            return fail("stream_interrupted", text, timing, by_us=True)(task)
        if task.status is S.QUEUED:
            reason = "The service ended while it sent this task; the provider may have it."
            return unconfirmed(reason, timing)(task)
        return ((replace(task, worker=None), None),)

    return decide


def rejected(error: Failure, timing: Timing) -> Callable[[Task], Decision]:
    def decide(task: Task) -> Decision:
        if task.status is not S.QUEUED:
            return NOTHING
        # Ours to decide: a refusal may be wrong (a 500 that says "error"), and a result that comes later was paid for.
        return tell(task, task.moved(S.FAILED, timing.now(), error=error, finished_by_us=True))

    return decide
