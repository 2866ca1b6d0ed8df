"""Accept a task, write it down, hand it to its provider's queue."""

from collections.abc import Callable, Mapping
from typing import Any

from service.core.errors import Conflict, NotFound, ProviderNotConfigured
from service.core.ids import new_id
from service.core.points import Point
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import Decision, Timing, tell
from service.flows.callbacks import Callbacks
from service.ports import Idempotency, Provider, Store


class Submitter:
    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        callbacks: Callbacks,
        timing: Timing,
        wake: Callable[[str], None],
    ) -> None:
        """`wake` is called with a provider's name when one of its tasks was stored as queued."""
        self.store = store
        self.providers = providers
        self.callbacks = callbacks
        self.timing = timing
        self._wake = wake

    async def accept(self, owner: str, body: dict[str, Any], idempotency: Idempotency | None) -> tuple[Task, bool]:
        """`body` has passed schemas/api/task.submit.json. Raises ValidationFailed, ProviderNotConfigured, …"""
        provider = self.providers.get(body["provider"])
        if provider is None:
            raise ProviderNotConfigured(
                f"This installation has no key for {body['provider']}; set {body['provider'].upper()}_API_KEY."
            )
        config = body.get("config") or {}
        warnings = provider.check(body["task_type"], body["model"], body["input"], config)
        given, config = provider.without_ours(body["input"], config)
        now = self.timing.now()
        task_id = new_id("tsk")
        task = Task(
            id=task_id,
            owner=owner,
            provider=provider.name,
            model=body["model"],
            task_type=body["task_type"],
            input=given,
            config=config,
            metadata=body.get("metadata") or {},
            callback_url=body.get("callback_url"),
            callback_events=tuple(body["callback_events"]) if body.get("callback_events") else None,
            warnings=tuple(warnings),
            created_at=now,
            updated_at=now,
            deadline_at=now + int(self.timing.task_deadline * 1000),
            links=self.callbacks.links(task_id),
        )
        stored, replayed = await self.store.tasks.add(task, idempotency)
        self._wake(provider.name)
        return stored, replayed

    async def resubmit(self, task: Task) -> Task:
        """A person's decision to send it again. Raises Conflict."""

        def decide(present: Task) -> Decision:
            if present.status not in (S.UNCONFIRMED, S.FAILED):
                raise Conflict(f"Only an unconfirmed or failed task can be sent again; this one is {present.status}.")
            now = self.timing.now()
            again = present.resubmitted(now, now + int(self.timing.task_deadline * 1000))
            return tell(present, again)

        if task.provider not in self.providers:
            raise ProviderNotConfigured(f"This installation has no key for {task.provider} any more.")
        changed = await self.store.tasks.change(Point.RESUBMIT, task.id, decide)
        if changed is None:
            raise NotFound("There is no such task.")
        self._wake(task.provider)
        return changed
