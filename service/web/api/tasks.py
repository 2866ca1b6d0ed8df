"""Tasks over HTTP: submit, get, list, cancel, submit again."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import Fault, ValidationFailed, bad_query
from service.core.task import Status, Task
from service.flows.browse import Browser, TaskFilter
from service.flows.cancel import Canceler
from service.flows.submit import Submitter
from service.flows.wait import FinishWaiter
from service.ports.queries import Idempotency
from service.web.auth import caller_of
from service.web.operations import tasks as operations
from service.web.operations.operation import Endpoint
from service.web.request_log import request_id_of
from service.web.requests import Bodies, json_body, limit_of, one_of, plain, until_gone
from service.web.responses import Json

WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,6})"?\s*(?=$|[,;])', re.IGNORECASE)
MAX_METADATA = 50
STATUSES = tuple(status.value for status in Status)


@dataclass(frozen=True, slots=True)
class TaskRoutes:
    browser: Browser
    submitter: Submitter
    canceler: Canceler
    waiter: FinishWaiter
    bodies: Bodies

    def endpoints(self) -> list[Endpoint]:
        return [
            (operations.SUBMIT, self.submit),
            (operations.LIST, self.list),
            (operations.READ, self.read),
            (operations.CANCEL, self.cancel),
            (operations.RESUBMIT, self.resubmit),
        ]

    async def submit(self, request: Request) -> Response:
        task, replayed = await self._accept(request)
        headers = {"location": f"/v1/tasks/{task.id}"}
        if replayed:
            headers["idempotent-replayed"] = "true"
            task = await self.browser.task(caller_of(request), task.id)
        wait = self._wait_of(request)
        if wait is None:
            return Json(self.shown(task), status_code=202, headers=headers)
        task_id = task.id
        # A thousand waiting requests must not hold a thousand tasks in memory.
        del task
        return await self._finished(request, task_id, wait, headers)

    async def _accept(self, request: Request) -> tuple[Task, bool]:
        key = _idempotency_key(request)
        async with json_body(request, self.bodies) as body:
            return await self.submitter.accept(
                caller_of(request).name, body, _idempotency(key, body), request_id_of(request.scope)
            )

    async def read(self, request: Request) -> Response:
        task_id = request.path_params["id"]
        wait = self._wait_of(request)
        if wait is None:
            return Json(self.shown(await self.browser.task(caller_of(request), task_id)))
        return await self._finished(request, task_id, wait, {})

    def _wait_of(self, request: Request) -> int | None:
        found = WAIT.search(",".join(request.headers.getlist("prefer")))
        if found is None or int(found[1]) < 1:
            return None
        return min(int(found[1]), self.waiter.longest)

    async def _finished(self, request: Request, task_id: str, wait: int, headers: dict[str, str]) -> Response:
        """200 with the finished task, or 202 with the task after `wait` seconds."""
        task = await until_gone(request, self.waiter.wait(caller_of(request), task_id, wait))
        headers["preference-applied"] = f"wait={wait}"
        return Json(self.shown(task), status_code=200 if task.finished else 202, headers=headers)

    async def list(self, request: Request) -> Response:
        metadata = {
            name.removeprefix("metadata."): plain(request, name) or ""
            for name in request.query_params
            if name.startswith("metadata.")
        }
        if len(metadata) > MAX_METADATA:
            raise bad_query("metadata", f"may be given at most {MAX_METADATA} times")
        wanted = TaskFilter(
            one_of(request, "status", STATUSES),
            one_of(request, "provider", operations.PROVIDERS),
            plain(request, "model"),
            metadata,
        )
        page = await self.browser.tasks(caller_of(request), wanted, plain(request, "cursor"), limit_of(request))
        return Json({"data": [self.shown(task) for task in page.items], "next_cursor": page.next_cursor})

    async def cancel(self, request: Request) -> Response:
        task = await self.browser.task(caller_of(request), request.path_params["id"])
        return Json(self.shown(await self.canceler.cancel(task)))

    async def resubmit(self, request: Request) -> Response:
        task = await self.browser.task(caller_of(request), request.path_params["id"])
        again = await self.submitter.resubmit(task)
        return Json(self.shown(again), status_code=202, headers={"location": f"/v1/tasks/{task.id}"})

    def shown(self, task: Task) -> dict[str, Any]:
        # The stored stream link ends after 24 h: every response has a fresh one.
        return {**task.document(), "links": self.submitter.callbacks.links(task.id)}


def _idempotency_key(request: Request) -> str | None:
    """Raises ValidationFailed."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    wrong = "must be sent once" if len(keys) > 1 else "must have 1 to 255 characters"
    if len(keys) > 1 or not 1 <= len(keys[0]) <= 255:
        raise ValidationFailed(f"Idempotency-Key {wrong}.", faults=(Fault("Idempotency-Key", wrong),))
    return keys[0]


def _idempotency(key: str | None, body: Any) -> Idempotency | None:
    if key is None:
        return None
    return Idempotency(key, hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest())
