"""The timeline of a task: moves, received callbacks, checks, delivery attempts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import orjson

from service.core.delivery import Delivery
from service.core.event import Event
from service.core.times import from_iso
from service.web.page.words import duration

MOVES = {
    "task.queued": "Accepted and stored",
    "task.submitted": "Accepted by the provider",
    "task.unconfirmed": "Sent, no response",
    "task.processing": "Processing",
    "task.completed": "Completed",
    "task.failed": "Failed",
    "task.canceled": "Canceled",
    "task.stored": "Result files copied",
}


@dataclass(frozen=True, slots=True)
class Row:
    """`gap` is the time in ms since the row before that is a move, for moves only. `more` is shown on request."""

    at: int
    kind: str
    shape: str
    tone: str
    title: str
    detail: str = ""
    more: str = ""
    url: str = ""
    gap: int | None = None
    order: int = field(default=0, compare=False)


def timeline(
    moves: Sequence[Event],
    callbacks: Iterable[Mapping[str, Any]],
    checks: Iterable[tuple[int, str]],
    deliveries: Iterable[Delivery],
) -> list[Row]:
    """Oldest first; within a millisecond causes come before effects."""
    rows = [*_moves(moves), *_callbacks(callbacks), *_checks(checks), *_attempts(deliveries)]
    return sorted(rows, key=lambda row: (row.at, row.order))


def _moves(events: Sequence[Event]) -> Iterator[Row]:
    before: int | None = None
    for kind, run in groupby(events, key=lambda event: event.type):
        group = list(run)
        first = group[0]
        status = kind.removeprefix("task.")
        detail = _reported(group[-1]) if kind in ("task.failed", "task.submitted") else ""
        if kind == "task.processing" and len(group) > 1:
            detail = f"{len(group)} progress reports"
        tone = {"completed": "good", "stored": "good", "failed": "bad", "unconfirmed": "warn"}.get(status, "busy")
        gap = None if before is None else first.at - before
        shape = "completed" if status == "stored" else status
        yield Row(first.at, "move", shape, tone, MOVES.get(kind, kind), detail, gap=gap, order=1)
        before = first.at


def _reported(event: Event) -> str:
    task = orjson.loads(event.body)["data"]
    if event.type == "task.failed":
        error = task["error"] or {}
        return str(error.get("message") or error.get("code") or "")
    return f"as {task['provider_task_id']}" if task["provider_task_id"] else ""


def _callbacks(callbacks: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    for call in callbacks:
        refused = call["status_code"] >= 400
        title = f"Callback from {call['provider']}: {call['result']}, {call['status_code']}"
        shape, tone = ("refused", "bad") if refused else ("check", "idle")
        yield Row(from_iso(call["at"]), "callback", shape, tone, title, call["detail"] or "", order=2 if refused else 0)


def _checks(checks: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for at, outcome in checks:
        yield Row(at, "check", "check", "idle", "Asked the provider", outcome)


def _attempts(deliveries: Iterable[Delivery]) -> Iterator[Row]:
    for item in deliveries:
        for number, attempt in enumerate(item.attempts, 1):
            code = attempt["status_code"]
            good = code is not None and 200 <= code < 300
            said = str(code) if code is not None else (attempt["error"] or "no response")
            title = f"{item.event_type} {'delivered' if good else 'not delivered'}: {said}"
            detail = f"attempt {number}, {duration(attempt['duration_ms'])}"
            shape, tone = ("delivered", "good") if good else ("failed", "bad")
            yield Row(
                from_iso(attempt["at"]),
                "attempt",
                shape,
                tone,
                title,
                detail,
                attempt.get("response") or "",
                item.url,
                order=3,
            )
