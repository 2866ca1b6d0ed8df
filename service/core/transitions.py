"""The moves of a task that the service decides by itself, and what every move is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from service.core.result import Failure
from service.core.task import Status, Task

# A decision about a task, made inside the transaction: the moves it makes, each the task afterwards and the event to
# announce (None: no event). Empty changes nothing. It must be pure, and may raise to refuse.
Step = tuple[Task, str | None]
Decision = Sequence[Step]
Decide = Callable[[Task], Decision]

NOTHING: Decision = ()
LONGEST_GAP = 3600.0
# Seconds until each further check after an inconclusive report, such as "completed" without a result.
CHECKS_IN_DOUBT = (2.0, 10.0, 60.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds; `now` gives milliseconds. `copies`: result files are copied before the provider deletes
    them."""

    sweep_after: float
    task_deadline: float
    now: Callable[[], int]
    copies: bool = False


def announced(before: Task, after: Task) -> Decision:
    """The move with its event; progress while processing has an event too."""
    if after.status is not before.status or (after.status is Status.PROCESSING and after.progress != before.progress):
        return ((after, f"task.{after.status}"),)
    return ((after, None),)


def next_check(task: Task, timing: Timing) -> int:
    """After growing gaps of at most an hour; soon while the provider's reports are inconclusive."""
    if 0 < task.doubts <= len(CHECKS_IN_DOUBT):
        return timing.now() + int(CHECKS_IN_DOUBT[task.doubts - 1] * 1000)
    gap = min(timing.sweep_after * 2**task.checks, max(LONGEST_GAP, timing.sweep_after))
    return timing.now() + int(gap * 1000)


def fail(code: str, message: str, timing: Timing, *, by_us: bool) -> Decide:
    """`by_us`: an assumption of ours, which a later result replaces."""

    def decide(task: Task) -> Decision:
        if task.finished:
            return NOTHING
        failure = Failure(code, message)
        failed = task.moved(Status.FAILED, timing.now(), error=failure, progress=None, finished_by_us=by_us)
        return announced(task, failed)

    return decide


def rejected(error: Failure, timing: Timing) -> Decide:
    def decide(task: Task) -> Decision:
        if task.status is not Status.QUEUED:
            return NOTHING
        # By us: a refusal may be wrong (a 500 that says "error"), and a result that arrives later was paid for.
        return announced(task, task.moved(Status.FAILED, timing.now(), error=error, finished_by_us=True))

    return decide


def unconfirmed(reason: str, timing: Timing) -> Decide:
    """The request may have been sent: wait for the callback and search the history, but never send it again."""

    def decide(task: Task) -> Decision:
        if task.status is not Status.QUEUED:
            return NOTHING
        now = timing.now()
        moved = task.moved(
            Status.UNCONFIRMED,
            now,
            warnings=(*task.warnings, reason),
            check_at=now + int(timing.sweep_after * 1000),
            checks=0,
            deadline_at=now + int(timing.task_deadline * 1000),
        )
        return announced(task, moved)

    return decide


def missed_deadline(timing: Timing) -> Decide:
    def decide(task: Task) -> Decision:
        if task.finished or task.deadline_at > timing.now():
            return NOTHING
        if task.output is not None:
            # The provider named an unknown status, but the result is there.
            return announced(task, task.moved(Status.COMPLETED, timing.now(), finished_by_us=True))
        if task.status is Status.UNCONFIRMED:
            code = "submission_unconfirmed"
            text = "There was no response to the submit and no callback; the provider may have charged for it."
        elif task.status is Status.QUEUED:
            code, text = "deadline_exceeded", "The provider did not accept the task in time."
        else:
            code, text = "deadline_exceeded", "The provider did not finish the task in time."
        return fail(code, text, timing, by_us=True)(task)

    return decide


# --- under a worker's claim ---


def claimed(task: Task, worker: int, now: int) -> Task:
    """The task while it is being sent. If the worker is not heard of again, it may have been sent."""
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
    """It was certainly not sent: back to the queue."""

    def decide(task: Task) -> Decision:
        if task.status is not Status.QUEUED or task.sent_at is None:
            return NOTHING
        return ((replace(task, sent_at=None, attempts=task.attempts - 1, worker=None), None),)

    return under_claim(claim, decide)


def lost(streamed: bool, timing: Timing) -> Decide:
    """The worker ended while it was sending the task, or while it held the task's stream."""

    def decide(task: Task) -> Decision:
        if task.worker is None or task.finished:
            return NOTHING
        if streamed:
            text = "The service stopped while it was reading this stream; the provider may have charged for it."
            return fail("stream_interrupted", text, timing, by_us=True)(task)
        if task.status is Status.QUEUED:
            reason = "The service stopped while it was sending this task; the provider may have received it."
            return unconfirmed(reason, timing)(task)
        return ((replace(task, worker=None), None),)

    return decide
