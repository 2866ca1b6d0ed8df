"""Accept a task: validate it, store it, and wake the queue of its provider."""

import asyncio
from collections.abc import Callable
from typing import Any

from service.core.errors import Conflict, NotFound, ProviderNotConfigured
from service.core.ids import new_id
from service.core.points import Point
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import Decision, Timing, announced
from service.flows.callbacks import Callbacks
from service.flows.check import Checked, TaskChecker, not_configured
from service.ports.queries import Idempotency
from service.ports.store import Store
from service.wire import validation

# Bodies with more values are validated in a thread, not in the event loop.
VALIDATED_IN_LOOP = 2_000


class Submitter:
    def __init__(
        self,
        store: Store,
        checker: TaskChecker,
        callbacks: Callbacks,
        timing: Timing,
        wake: Callable[[str], None],
    ) -> None:
        """`wake` is called with a provider's name when one of its tasks was stored as queued."""
        self.store = store
        self.checker = checker
        self.callbacks = callbacks
        self.timing = timing
        self._wake = wake
        self._storing: set[tuple[str, str]] = set()

    async def accept(
        self, owner: str, body: Any, idempotency: Idempotency | None, request_id: str | None = None
    ) -> tuple[Task, bool]:
        """Validate and store a task; True: it is that of an earlier request with the same idempotency key.

        Raises ValidationFailed, ProviderNotConfigured, IdempotencyMismatch, Conflict, Unavailable.
        """
        if idempotency is None:
            return await self._store(owner, body, None, request_id)
        in_use = owner, idempotency.key
        if in_use in self._storing:
            raise Conflict("A request with this Idempotency-Key is in progress; repeat it in a moment.", retry_after=1)
        self._storing.add(in_use)
        try:
            return await self._store(owner, body, idempotency, request_id)
        finally:
            self._storing.discard(in_use)

    async def _store(
        self, owner: str, body: Any, idempotency: Idempotency | None, request_id: str | None
    ) -> tuple[Task, bool]:
        try:
            if validation.is_larger(body, VALIDATED_IN_LOOP):
                checked = await asyncio.to_thread(self.checker.check, body)
            else:
                checked = self.checker.check(body)
        except ProviderNotConfigured:
            # The key was removed since then, but a repeated request still gets its task.
            first = await self.store.tasks.repeated(owner, idempotency) if idempotency is not None else None
            if first is None:
                raise
            return first, True
        stored, replayed = await self.store.tasks.add(self._task(owner, body, checked, request_id), idempotency)
        self._wake(checked.provider.name)
        return stored, replayed

    def _task(self, owner: str, body: Any, checked: Checked, request_id: str | None) -> Task:
        now = self.timing.now()
        task_id = new_id("tsk")
        return Task(
            id=task_id,
            owner=owner,
            provider=checked.provider.name,
            model=body["model"],
            task_type=body["task_type"],
            input=checked.prepared.input,
            config=checked.prepared.config,
            metadata=body.get("metadata") or {},
            callback_url=body.get("callback_url"),
            callback_events=tuple(body["callback_events"]) if body.get("callback_events") else None,
            warnings=checked.prepared.warnings,
            created_at=now,
            updated_at=now,
            deadline_at=now + int(self.timing.task_deadline * 1000),
            links=self.callbacks.links(task_id),
            request_id=request_id,
        )

    async def resubmit(self, task: Task) -> Task:
        """Send it again, because a person asked for it. Raises Conflict."""

        def decide(current: Task) -> Decision:
            if current.status not in (S.UNCONFIRMED, S.FAILED):
                raise Conflict(f"Only an unconfirmed or failed task can be sent again; this one is {current.status}.")
            now = self.timing.now()
            again = current.resubmitted(now, now + int(self.timing.task_deadline * 1000))
            return announced(current, again)

        if task.provider not in self.checker.providers:
            raise not_configured(task.provider)
        changed = await self.store.tasks.change(Point.RESUBMIT, task.id, decide)
        if changed is None:
            raise NotFound("There is no such task.")
        self._wake(task.provider)
        return changed
