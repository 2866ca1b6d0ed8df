"""A task, its states, and the only moves among them.

queued ──> submitted ──> processing ──> completed | failed | canceled
   │            └───────────────────────^
   ├──> unconfirmed ──> any later one
   └──> failed | canceled
"""

from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from service.core.inline import InlineFile
from service.core.result import Failure, Output, Progress, Usage
from service.core.times import to_iso

HOUR_MS = 3_600_000


class Status(StrEnum):
    QUEUED = "queued"
    UNCONFIRMED = "unconfirmed"
    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


# States only move forward: to a higher rank, never back.
RANK = {
    Status.QUEUED: 0,
    Status.UNCONFIRMED: 1,
    Status.SUBMITTED: 2,
    Status.PROCESSING: 3,
    Status.COMPLETED: 4,
    Status.FAILED: 4,
    Status.CANCELED: 4,
}
KEPT_QUESTIONS = 20
FINISHED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})
AT_PROVIDER = frozenset({Status.SUBMITTED, Status.PROCESSING})


class Update(Struct, frozen=True):
    """What a provider said about a task, in our words. `status` None: still open, nothing to conclude."""

    status: Status | None
    provider_task_id: str | None = None
    provider_status: str | None = None
    output: Output | None = None
    error: Failure | None = None
    usage: Usage | None = None
    progress: Progress | None = None
    # Files that came inline; the output names them by placeholders until they are stored.
    files: tuple[InlineFile, ...] = ()
    # How long the provider keeps the files of the output.
    kept_hours: int | None = None
    warnings: tuple[str, ...] = ()
    # The provider echoed our callback address as empty: it will not call, so it is asked soon.
    callback_dropped: bool = False
    # An end that we read out of the provider's words: it gives way to a result that comes later.
    inferred: bool = False
    # What came does not settle how the task stands: the provider is asked again soon.
    doubtful: bool = False


class Task(Struct, frozen=True):
    id: str
    owner: str
    provider: str
    model: str
    task_type: str
    input: dict[str, Any]
    created_at: int
    updated_at: int
    config: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    callback_url: str | None = None
    callback_events: tuple[str, ...] | None = None
    status: Status = Status.QUEUED
    output: Output | None = None
    error: Failure | None = None
    usage: Usage | None = None
    progress: Progress | None = None
    warnings: tuple[str, ...] = ()
    provider_task_id: str | None = None
    provider_status: str | None = None
    attempts: int = 0
    submitted_at: int | None = None
    started_at: int | None = None
    finished_at: int | None = None
    expires_at: int | None = None
    links: dict[str, str] = field(default_factory=dict)
    # Ours alone, never shown: when the request left (a crash after it means "perhaps sent"), who decided the
    # finish, when to ask the provider next and how often we did, when to give up, ids of earlier attempts, and the
    # X-Request-ID of the submit.
    sent_at: int | None = None
    finished_by_us: bool = False
    check_at: int | None = None
    checks: int = 0
    deadline_at: int = 0
    earlier_ids: tuple[str, ...] = ()
    # The worker that sends it or holds its stream. Until when a canceled task may still take a place at the provider.
    worker: int | None = None
    place_until: int | None = None
    request_id: str | None = None
    # How often in a row the provider's words settled nothing, such as "completed" without a result.
    doubts: int = 0
    # The last questions to the provider about it: when (ms), and what came of each.
    asked: tuple[tuple[int, str], ...] = ()

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    def document(self) -> dict[str, Any]:
        """The task as its owner sees it, in the API, in events and in webhooks."""
        return {
            "id": self.id,
            "provider": self.provider,
            "model": self.model,
            "task_type": self.task_type,
            "status": str(self.status),
            "input": self.input,
            "config": self.config,
            "metadata": self.metadata,
            "callback_url": self.callback_url,
            "output": self.output.document() if self.output else None,
            "error": self.error.document() if self.error else None,
            "usage": self.usage,
            "progress": self.progress.document() if self.progress else None,
            "warnings": self.warnings,
            "provider_task_id": self.provider_task_id,
            "provider_status": self.provider_status,
            "attempts": self.attempts,
            "created_at": to_iso(self.created_at),
            "updated_at": to_iso(self.updated_at),
            "submitted_at": _shown(self.submitted_at),
            "started_at": _shown(self.started_at),
            "finished_at": _shown(self.finished_at),
            "expires_at": _shown(self.expires_at),
            "links": self.links,
        }

    def with_question(self, at: int, outcome: str) -> "Task":
        return replace(self, asked=(*self.asked, (at, outcome))[-KEPT_QUESTIONS:])

    def may_move_to(self, status: Status) -> bool:
        if self.finished:
            # Our own guess gives way to what the provider reports later: paid work is never thrown away.
            return self.finished_by_us and (
                status is Status.COMPLETED or (status is Status.FAILED and self.status is Status.FAILED)
            )
        return RANK[status] > RANK[self.status]

    def moved(self, status: Status, now: int, **changes: Any) -> "Task":
        """A copy in `status`, with the times that belong to the move."""
        if (status in AT_PROVIDER or status is Status.COMPLETED) and self.submitted_at is None:
            changes.setdefault("submitted_at", now)
        if status is Status.PROCESSING:
            changes.setdefault("started_at", now)
        if status in FINISHED:
            changes.setdefault("finished_at", now)
            changes.setdefault("check_at", None)
            changes.setdefault("finished_by_us", False)
            changes.setdefault("place_until", None)
        if status in FINISHED or status is Status.UNCONFIRMED:
            changes.setdefault("worker", None)
        return replace(self, status=status, updated_at=now, **changes)

    def updated(self, update: Update, now: int) -> "Task | None":
        """The task after what the provider said, or None when that changes nothing."""
        if self.finished and self.place_until is not None and update.status is Status.FAILED:
            # It was canceled here, and now its place at the provider is free too.
            return replace(self, place_until=None)
        if self.finished and self._repeats(update):
            return None
        learned = self._learned(update)
        status = update.status
        if status is not None and self.may_move_to(status):
            if status in FINISHED:
                learned |= {"output": update.output, "error": update.error, "progress": None}
                learned["finished_by_us"] = update.inferred
            if update.kept_hours is not None:
                learned |= _with_expiry(update, now)
            if update.usage is not None:
                learned["usage"] = update.usage
            return self.moved(status, now, **learned)
        if self.finished:
            return None
        if status is None and update.output is not None:
            learned |= {"output": update.output} | _with_expiry(update, now)
        if update.progress is not None and self.status is Status.PROCESSING and update.progress != self.progress:
            learned["progress"] = update.progress
        return replace(self, updated_at=now, **learned) if learned else None

    def _repeats(self, update: Update) -> bool:
        """Whether a finished task learns nothing from an end: the same result again, or a guess after a guess."""
        if self.status is Status.COMPLETED:
            return update.output is None or (self.output is not None and self.output.is_like(update.output))
        return update.inferred and update.status is Status.FAILED

    def _learned(self, update: Update) -> dict[str, Any]:
        learned: dict[str, Any] = {}
        if update.provider_task_id and not self.provider_task_id:
            learned["provider_task_id"] = update.provider_task_id
        if update.provider_status is not None and update.provider_status != self.provider_status:
            learned["provider_status"] = update.provider_status
        if update.warnings:
            learned["warnings"] = self.warnings + tuple(w for w in update.warnings if w not in self.warnings)
        if update.progress is not None and update.status not in FINISHED:
            learned["progress"] = update.progress
        return learned

    def resubmitted(self, now: int, deadline_at: int) -> "Task":
        """Back to the queue by a person's decision; ids of the earlier attempt stay known."""
        earlier = self.earlier_ids + ((self.provider_task_id,) if self.provider_task_id else ())
        return replace(
            self,
            status=Status.QUEUED,
            updated_at=now,
            output=None,
            error=None,
            usage=None,
            progress=None,
            provider_task_id=None,
            provider_status=None,
            submitted_at=None,
            started_at=None,
            finished_at=None,
            expires_at=None,
            sent_at=None,
            finished_by_us=False,
            check_at=None,
            checks=0,
            worker=None,
            place_until=None,
            doubts=0,
            deadline_at=deadline_at,
            earlier_ids=earlier,
        )


def _with_expiry(update: Update, now: int) -> dict[str, Any]:
    if update.kept_hours is None or update.output is None:
        return {}
    expires_at = now + update.kept_hours * HOUR_MS
    return {"expires_at": expires_at, "output": update.output.expiring(to_iso(expires_at))}


def _shown(moment: int | None) -> str | None:
    return None if moment is None else to_iso(moment)
