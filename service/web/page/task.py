"""The page of one task: its result, everything that happened to it, and its actions."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from service.core.caller import Caller
from service.core.errors import CallbridgeError
from service.core.event import TASK_EVENTS, Event
from service.core.task import Status, Task
from service.ports.insight import InsightStore
from service.web.page import snippets
from service.web.page.flows import Flows
from service.web.page.gate import Gate, Notice, SeeOther, Visit
from service.web.page.rendering import render
from service.web.page.results import files_of, run_of, text_of
from service.web.page.timeline import timeline

PROCESSING = "task.processing"
OTHER_MOVES = tuple(name for name in TASK_EVENTS if name != PROCESSING)
MOST = 100
# What a request may say besides provider, model, task type and input.
OPTIONS = ("config", "metadata", "callback_url")


@dataclass(frozen=True, slots=True)
class TaskPage:
    """`public_url` is the address in the request snippet."""

    gate: Gate
    flows: Flows
    insight: InsightStore
    public_url: str

    def routes(self) -> list[Route]:
        return [
            self.gate.get("/tasks/{id}", self.show),
            self.gate.post("/tasks/{id}/cancel", self.cancel),
            self.gate.post("/tasks/{id}/resubmit", self.resubmit),
        ]

    async def show(self, visit: Visit, error: CallbridgeError | None = None) -> Response:
        caller = visit.caller
        task = await self.flows.browser.task(caller, visit.path("id"))
        callbacks = (await self.flows.browser.callbacks(caller, task_id=task.id, limit=MOST)).items
        deliveries = (await self.flows.browser.deliveries(caller, task_id=task.id, limit=MOST)).items
        times = [] if task.finished else await self.insight.times_of_model(task.owner, task.model)
        shown = [call for call in callbacks if caller.admin or call["status_code"] < 400]
        return render(
            "task.html",
            caller,
            error.status if error else 200,
            notice=visit.notice,
            alert=error.detail if error else None,
            task=task,
            document=task.document(),
            files=files_of(task),
            text=text_of(task) or self.flows.text_so_far(task.id),
            run=run_of(task, times),
            rows=timeline(await self._moves(caller, task), shown, task.asked, deliveries),
            callbacks=callbacks,
            deliveries=deliveries,
            retryable=self.flows.redeliverer.retryable(deliveries),
            cancelable=not task.finished,
            resubmittable=self._resubmittable(task),
            curl=snippets.curl(self.public_url, request_of(task)),
        )

    async def cancel(self, visit: Visit) -> Response | SeeOther:
        task = await self.flows.browser.task(visit.caller, visit.path("id"))
        try:
            changed = await self.flows.canceler.cancel(task)
        except CallbridgeError as error:
            return await self.show(visit, error)
        warned = [text for text in changed.warnings if text not in task.warnings]
        return SeeOther(f"/tasks/{task.id}", Notice(" ".join(["Canceled.", *warned])))

    async def resubmit(self, visit: Visit) -> Response | SeeOther:
        task = await self.flows.browser.task(visit.caller, visit.path("id"))
        try:
            await self.flows.submitter.resubmit(task)
        except CallbridgeError as error:
            return await self.show(visit, error)
        return SeeOther(f"/tasks/{task.id}", Notice("Queued to be sent again."))

    def _resubmittable(self, task: Task) -> bool:
        return task.status in (Status.UNCONFIRMED, Status.FAILED) and task.provider in self.flows.canceler.clients

    async def _moves(self, caller: Caller, task: Task) -> list[Event]:
        """Progress events may be many and large: only their first page is shown."""
        moves = await self.flows.browser.events(caller, OTHER_MOVES, task.id, limit=MOST)
        progress = await self.flows.browser.events(caller, (PROCESSING,), task.id, limit=MOST)
        return sorted([*moves, *progress], key=lambda event: event.seq)


def request_of(task: Task) -> dict[str, Any]:
    """The body that would submit it again."""
    document = task.document()
    body = {name: document[name] for name in ("provider", "model", "task_type", "input")}
    return body | {name: document[name] for name in OPTIONS if document[name]}
