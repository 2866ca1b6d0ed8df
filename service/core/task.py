"""A task, its statuses, and the only moves between them.

queued ──> submitted ──> processing ──> completed | failed | canceled
   │            └───────────────────────^
   ├──> unconfirmed ──> any later one
   └──> failed | canceled
"""

from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from service.core.result import Failure, Output, Progress, Usage
from service.core.times import to_iso


class Status(StrEnum):
    QUEUED = "queued"
    UNCONFIRMED = "unconfirmed"
    SUBMITTED = "submitted"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


# A status only moves to a higher rank.
RANK = {
    Status.QUEUED: 0,
    Status.UNCONFIRMED: 1,
    Status.SUBMITTED: 2,
    Status.PROCESSING: 3,
    Status.COMPLETED: 4,
    Status.FAILED: 4,
    Status.CANCELED: 4,
}
KEPT_CHECKS = 20
FINISHED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})
AT_PROVIDER = frozenset({Status.SUBMITTED, Status.PROCESSING})


# What is at its default is not stored, so no default may ever change.
class Task(Struct, frozen=True, omit_defaults=True):
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
    # The rest is internal and never shown. When the request left: a crash after that means it may have been sent.
    sent_at: int | None = None
    # The finish was our decision or our reading, so a result that arrives later replaces it.
    finished_by_us: bool = False
    # When to check with the provider next, how often that was done, and when to give up.
    check_at: int | None = None
    checks: int = 0
    deadline_at: int = 0
    # The provider's ids of earlier attempts.
    earlier_ids: tuple[str, ...] = ()
    # The worker that sends the task or holds its stream.
    worker: int | None = None
    # Until when a canceled task may still occupy a slot at the provider.
    place_until: int | None = None
    # The X-Request-ID of the submit.
    request_id: str | None = None
    # Inconclusive reports in a row, such as "completed" without a result.
    doubts: int = 0
    # The latest checks with the provider: when (ms), and the outcome.
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

    def with_check(self, at: int, outcome: str) -> "Task":
        return replace(self, asked=(*self.asked, (at, outcome))[-KEPT_CHECKS:])

    def may_move_to(self, status: Status) -> bool:
        if self.finished:
            # A finish of ours gives way to what the provider reports later: paid work is never thrown away.
            return self.finished_by_us and (
                status is Status.COMPLETED or (status is Status.FAILED and self.status is Status.FAILED)
            )
        return RANK[status] > RANK[self.status]

    def moved(self, status: Status, now: int, **changes: Any) -> "Task":
        """The task in `status`, with the times of that move set."""
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

    def resubmitted(self, now: int, deadline_at: int) -> "Task":
        """Back in the queue, because a person asked for it; the provider's id of this attempt is kept."""
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


def _shown(moment: int | None) -> str | None:
    return None if moment is None else to_iso(moment)
