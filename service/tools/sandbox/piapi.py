"""PiAPI's unified task API: https://piapi.ai/docs/overview"""

import asyncio
import uuid
from collections import OrderedDict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .behaviour import Behaviour, UnknownBehaviour
from .clock import now_ns
from .context import SandboxContext, json_object, key_works, prompt_of
from .piapi_checks import family, refusal
from .piapi_runner import PiapiTaskRunner
from .piapi_tasks import PRICE, PiapiTask, history_row, shown_input, view
from .responses import ProviderJson, UntidyJson, fault_response

TASKS_KEPT = 20_000
MAX_PAGE_SIZE = 100


def error_body(status: int, message: str) -> dict[str, Any]:
    return {"code": status, "data": None, "message": message}


def unauthorized(request: Request) -> Response | None:
    if key_works(request.headers.get("x-api-key")):
        return None
    return ProviderJson({"error": "Unauthorized: the x-api-key header is missing or wrong"}, 401)


class PiApiSandbox:
    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._tasks: OrderedDict[str, PiapiTask] = OrderedDict()
        self._runner = PiapiTaskRunner(context)

    def routes(self) -> list[Route]:
        return [
            Route("/api/v1/task", self.create, methods=["POST"]),
            Route("/api/v1/task/{task_id}", self.read, methods=["GET"]),
            Route("/api/v1/task/{task_id}", self.cancel, methods=["DELETE"]),
            Route("/api/open/tasks/histories", self.history, methods=["GET"]),
            Route("/account/info", self.account, methods=["GET"]),
        ]

    def clear(self) -> None:
        self._tasks.clear()

    async def create(self, request: Request) -> Response:
        raw = await request.body()
        self._context.ledger.record_request(request, raw)
        if refused := unauthorized(request):
            return refused
        body = json_object(raw)
        if body is None:
            return ProviderJson(error_body(400, "invalid request body: not a JSON object"), 400)
        try:
            behaviour = self._context.behaviour(request, body.get("input"))
        except UnknownBehaviour as error:
            return ProviderJson(error_body(400, str(error)), 400)
        if not behaviour.accepted:
            await asyncio.sleep(behaviour.answer_delay)
            return fault_response(behaviour.response_fault, error_body, behaviour.retry_after)
        if problem := refusal(body):
            return ProviderJson(error_body(400, problem), 400)

        task = self._accept(body, behaviour, self._context.base_url(request))
        answer = await self._runner.begin(task)
        await asyncio.sleep(behaviour.answer_delay)
        if behaviour.response_fault:
            return fault_response(behaviour.response_fault, error_body)
        return UntidyJson({"code": 200, "data": answer, "message": "success"}, behaviour.json)

    async def read(self, request: Request) -> Response:
        if refused := unauthorized(request):
            return refused
        task = self._tasks.get(request.path_params["task_id"])
        if task is None:
            return ProviderJson(error_body(404, "task not found"), 404)
        task.reads += 1
        fault, times = task.behaviour.fetch, task.behaviour.times
        if fault and (times is None or task.reads <= times):
            return fault_response(fault, error_body, task.behaviour.retry_after)
        return UntidyJson({"code": 200, "data": view(task), "message": "success"}, task.behaviour.json)

    async def cancel(self, request: Request) -> Response:
        if refused := unauthorized(request):
            return refused
        task = self._tasks.get(request.path_params["task_id"])
        if task is None:
            return ProviderJson(error_body(404, "task not found"), 404)
        if task.status != "pending":
            return ProviderJson(
                error_body(400, f"task {task.id} is {task.status}: only pending tasks can be canceled"), 400
            )
        self._runner.cancel(task)
        return ProviderJson({"code": 200, "message": f"task {task.id} canceled"})

    async def history(self, request: Request) -> Response:
        if refused := unauthorized(request):
            return refused
        query = request.query_params
        try:
            page, size = int(query.get("page") or 1), int(query.get("page_size") or 10)
            start, end = int(query.get("start_time") or 0), int(query.get("end_time") or 2**40)
        except ValueError:
            return ProviderJson(error_body(400, "page, page_size, start_time and end_time are whole numbers"), 400)
        if page < 1 or not 1 <= size <= MAX_PAGE_SIZE:
            return ProviderJson(error_body(400, f"page starts at 1, page_size is at most {MAX_PAGE_SIZE}"), 400)
        model = query.get("model") or ""
        found = [task for task in reversed(self._tasks.values())
                 if task.behaviour.history != "none" and (not model or family(task.model) == model)
                 and start <= task.created // 1_000_000_000 <= end]  # fmt: skip
        rows = [history_row(task) for task in found[(page - 1) * size : page * size]]
        data = {"data": rows, "page": page, "size": size, "total": len(found)}
        return ProviderJson({"code": 200, "data": data, "message": "success"})

    async def account(self, request: Request) -> Response:
        if refused := unauthorized(request):
            return refused
        credits = {
            "available_credits": 10**8,
            "used_credits": 0,
            "total": 10**8,
            "frozen": 0,
            "expired": 0,
            "inactive": 0,
        }
        owner = {"id": 1, "name": "sandbox", "plan": "pro", "type": "user", "is_enable": True}
        data = {**owner, "credit_pack_info": credits, "equivalent_in_usd": 10.0}
        return ProviderJson({"code": 200, "data": data, "message": "success"})

    def _accept(self, body: dict[str, Any], behaviour: Behaviour, base_url: str) -> PiapiTask:
        model, task_type, given = body["model"], body["task_type"], body["input"]
        config = body.get("config") or {}
        webhook = config.get("webhook_config") or {}
        id = str(uuid.uuid4())
        entry = self._context.ledger.add(id, "piapi", model, task_type, prompt_of(given))
        task = PiapiTask(
            id=id,
            model=model,
            task_type=task_type,
            input=shown_input(model, given),
            service_mode=config.get("service_mode") or "",
            endpoint=webhook.get("endpoint") or "",
            secret=webhook.get("secret") or "",
            behaviour=behaviour,
            entry=entry,
            base_url=base_url,
            created=now_ns(),
            price=PRICE * int(given.get("batch_size") or 1),
        )
        self._tasks[id] = task
        if len(self._tasks) > TASKS_KEPT:
            self._tasks.popitem(last=False)
        return task
