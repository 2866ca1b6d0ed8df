"""Tasks over HTTP: submit, read, list, cancel, send again."""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.core.errors import Conflict, Fault, NotFound, ValidationFailed
from service.core.task import Status, Task
from service.core.transitions import Timing
from service.flows.cancel import cancel
from service.flows.hub import Hub
from service.flows.submit import Submitter
from service.ports import Idempotency, Outlet, Provider, Sender, Store, TaskQuery
from service.web.auth import Caller, caller_of
from service.web.requests import bad_query, limit_of, one_of, plain, read_json
from service.web.responses import Json

WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,6})"?\s*(?=$|[,;])', re.IGNORECASE)
LONGEST_WAIT = 120
MOST_METADATA = 50
# Heroku's router ends a request without a byte for 30 s.
LONGEST_WAIT_ON_HEROKU = 25
STATUSES = tuple(status.value for status in Status)


@dataclass(frozen=True, slots=True)
class TaskRoutes:
    store: Store
    submitter: Submitter
    providers: Mapping[str, Provider]
    sender: Sender
    outlet: Outlet
    hub: Hub
    timing: Timing
    max_body: int
    on_heroku: bool
    storing: set[tuple[str, str]]

    def routes(self) -> list[Route]:
        return [
            Route("/tasks", self.submit, methods=["POST"]),
            Route("/tasks", self.list, methods=["GET"]),
            Route("/tasks/{id}", self.read, methods=["GET"]),
            Route("/tasks/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/tasks/{id}/resubmit", self.resubmit, methods=["POST"]),
        ]

    async def submit(self, request: Request) -> Response:
        caller = caller_of(request)
        body = await read_json(request, self.max_body, "api/task.submit")
        if body.get("callback_url") is not None:
            check_target(self.outlet, body["callback_url"], "/callback_url")
        task, replayed = await self._accept(caller, body, request.headers.get("idempotency-key"))
        headers = {"location": f"/v1/tasks/{task.id}"}
        if replayed:
            headers["idempotent-replayed"] = "true"
            task = await self._owned(caller, task.id)
        return await self._answer(request, task, 202, headers)

    async def _accept(self, caller: Caller, body: dict[str, Any], key: str | None) -> tuple[Task, bool]:
        if key is None:
            return await self.submitter.accept(caller.name, body, None)
        if not 1 <= len(key) <= 255:
            raise ValidationFailed(
                "Idempotency-Key must have 1 to 255 characters.",
                faults=(Fault("Idempotency-Key", "must have 1 to 255 characters"),),
            )
        if (caller.name, key) in self.storing:
            raise Conflict("A request with this Idempotency-Key is being stored; repeat it in a moment.", retry_after=1)
        self.storing.add((caller.name, key))
        try:
            fingerprint = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
            return await self.submitter.accept(caller.name, body, Idempotency(key, fingerprint))
        finally:
            self.storing.discard((caller.name, key))

    async def read(self, request: Request) -> Response:
        task = await self._owned(caller_of(request), request.path_params["id"])
        return await self._answer(request, task, 200, {})

    async def _answer(self, request: Request, task: Task, status: int, headers: dict[str, str]) -> Response:
        wait = self._wait_of(request)
        if wait is not None:
            headers["preference-applied"] = f"wait={wait}"
            task = await self._finished(task, wait)
            status = 200 if task.finished else 202
        return Json(self.shown(task), status_code=status, headers=headers)

    def _wait_of(self, request: Request) -> int | None:
        found = WAIT.search(",".join(request.headers.getlist("prefer")))
        if found is None or int(found[1]) < 1:
            return None
        return min(int(found[1]), LONGEST_WAIT_ON_HEROKU if self.on_heroku else LONGEST_WAIT)

    async def _finished(self, task: Task, wait: int) -> Task:
        """The task once it is finished, or as it is after `wait` seconds."""
        finished = self.hub.waiter(task.id)
        try:
            # Read again after the waiter stands: the finish may have come in between.
            task = await self.store.tasks.get(task.id) or task
            if not task.finished:
                async with asyncio.timeout(wait):
                    await finished
                task = await self.store.tasks.get(task.id) or task
        except TimeoutError:
            task = await self.store.tasks.get(task.id) or task
        finally:
            finished.cancel()
        return task

    async def list(self, request: Request) -> Response:
        caller = caller_of(request)
        cursor = plain(request, "cursor")
        if cursor is not None and not re.fullmatch(r"tsk_[0-9a-f]{32}", cursor):
            raise bad_query("cursor", "must be the next_cursor of an earlier page")
        if sum(name.startswith("metadata.") for name in request.query_params) > MOST_METADATA:
            raise bad_query("metadata", f"can be asked for at most {MOST_METADATA} times")
        limit = limit_of(request)
        query = TaskQuery(
            owner=caller.owner,
            status=one_of(request, "status", STATUSES),
            provider=plain(request, "provider"),
            model=plain(request, "model"),
            metadata={
                name.removeprefix("metadata."): plain(request, name) or ""
                for name in request.query_params
                if name.startswith("metadata.")
            },
            before=cursor,
            limit=limit + 1,
        )
        found = await self.store.tasks.find(query)
        more = len(found) > limit
        page = found[:limit]
        return Json({"data": [self.shown(task) for task in page], "next_cursor": page[-1].id if more else None})

    async def cancel(self, request: Request) -> Response:
        task = await self._owned(caller_of(request), request.path_params["id"])
        provider = self.providers.get(task.provider)
        return Json(self.shown(await cancel(self.store, provider, self.sender, self.timing, task)))

    async def resubmit(self, request: Request) -> Response:
        task = await self._owned(caller_of(request), request.path_params["id"])
        again = await self.submitter.resubmit(task)
        return Json(self.shown(again), status_code=202, headers={"location": f"/v1/tasks/{task.id}"})

    async def _owned(self, caller: Caller, task_id: str) -> Task:
        return await owned_task(self.store, caller, task_id)

    def shown(self, task: Task) -> dict[str, Any]:
        # The stream link of the stored task ends after 24 h: whoever asks gets a fresh one.
        return {**task.document(), "links": self.submitter.callbacks.links(task.id)}


async def owned_task(store: Store, caller: Caller, task_id: str) -> Task:
    task = await store.tasks.get(task_id)
    if task is None or not caller.may_see(task.owner):
        raise NotFound("There is no such task.")
    return task


def check_target(outlet: Outlet, url: str, pointer: str) -> None:
    try:
        outlet.check(url)
    except ValueError as refused:
        raise ValidationFailed(
            f"Deliveries cannot go to this address: {refused}", faults=(Fault(pointer, str(refused)),)
        ) from None
