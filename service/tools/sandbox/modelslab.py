"""ModelsLab's image API, enterprise Flux and v6: https://docs.modelslab.com"""

import asyncio
import itertools
from collections import OrderedDict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .behaviour import Behaviour, UnknownBehaviour
from .clock import now_ns
from .context import SandboxContext, json_object, key_works, prompt_of
from .modelslab_jobs import (
    ModelsLabJob,
    failed_response,
    fetch_response,
    processing_response,
    success_response,
    webhook,
)
from .responses import ProviderJson, UntidyJson, fault_response

JOBS_KEPT = 20_000
FIRST_NUMBER = 12_202_888
BASES = {"enterprise": "/api/v1/enterprise/flux", "v6": "/api/v6/images"}
BY_BODY = {"enterprise": "/api/v1/enterprise/fetch", "v6": "/api/v6/images/fetch"}
NOT_FOUND = {"status": "failed", "id": "", "message": "Request not found", "output": "",
             "tip": "Please check that you used the right fetch address for this request."}  # fmt: skip


def error_body(status: int, message: str) -> dict[str, Any]:
    return {"status": "error", "message": message}


class ModelsLabSandbox:
    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._jobs: OrderedDict[tuple[str, str], ModelsLabJob] = OrderedDict()
        self._numbers = itertools.count(FIRST_NUMBER)

    def routes(self) -> list[Route]:
        routes = []
        for name, base in BASES.items():
            for kind in ("text2img", "img2img"):
                routes.append(Route(f"{base}/{kind}", self.create, methods=["POST"], name=f"{name}:{kind}"))
            routes.append(Route(f"{base}/fetch/{{id}}", self.fetch, methods=["POST"], name=f"{name}:fetch"))
            routes.append(Route(BY_BODY[name], self.fetch, methods=["POST"], name=f"{name}:fetch"))
        return routes

    def clear(self) -> None:
        self._jobs.clear()

    async def create(self, request: Request) -> Response:
        raw = await request.body()
        self._context.ledger.record_request(request, raw)
        body = json_object(raw)
        if body is None:
            return ProviderJson(error_body(400, "Invalid API Request"), 400)
        if refused := _refused_key(body):
            return refused
        try:
            behaviour = self._context.behaviour(request, body.get("prompt"))
        except UnknownBehaviour as error:
            return ProviderJson(error_body(400, str(error)), 400)
        if not behaviour.accepted:
            await asyncio.sleep(behaviour.answer_delay)
            return _fault_response(behaviour.response_fault, behaviour)
        kind = request.url.path.rpartition("/")[2]
        if problem := _problem(kind, body):
            return ProviderJson(error_body(400, problem), 400)

        job = self._accept(_family(request), kind, body, behaviour, self._context.base_url(request))
        answer = await self._begin(job)
        await asyncio.sleep(behaviour.answer_delay)
        return (
            _fault_response(behaviour.response_fault, behaviour)
            if behaviour.response_fault
            else UntidyJson(answer, behaviour.json)
        )

    async def fetch(self, request: Request) -> Response:
        body = json_object(await request.body()) or {}
        if refused := _refused_key(body):
            return refused
        id = request.path_params.get("id") or str(body.get("request_id") or "")
        job = self._jobs.get((_family(request), id))
        if job is None:
            return ProviderJson(NOT_FOUND)
        job.reads += 1
        fault, times = job.behaviour.fetch, job.behaviour.times
        if fault and (times is None or job.reads <= times):
            return ProviderJson(NOT_FOUND) if fault == "404" else _fault_response(fault, job.behaviour)
        return UntidyJson(fetch_response(job), job.behaviour.json)

    def _accept(
        self, family: str, kind: str, body: dict[str, Any], behaviour: Behaviour, base_url: str
    ) -> ModelsLabJob:
        number = next(self._numbers)
        prompt = prompt_of(body["prompt"])
        model = str(body.get("model_id") or "flux")
        entry = self._context.ledger.add(str(number), "modelslab", model, kind, prompt)
        job = ModelsLabJob(number, family, kind, body, behaviour, entry, base_url, f"{BASES[family]}/fetch")
        suffix = "base64" if body.get("base64") in (True, "yes", "true") else "png"
        for n in range(int(body.get("samples") or 1)):
            name = self._context.gallery.add(f"{prompt} {n}", suffix, behaviour.size, False, behaviour.file)
            job.files.append(name)
        if job.public_id:
            self._jobs[family, str(job.public_id)] = job
        if len(self._jobs) > JOBS_KEPT:
            self._jobs.popitem(last=False)
        self._context.ledger.set_status(entry, "processing")
        return job

    async def _begin(self, job: ModelsLabJob) -> dict[str, Any]:
        """Starts the job's life; returns the submit's answer."""
        if job.behaviour.instant:
            self._finish(job)
            if "anyway" in job.behaviour.callback:
                self._context.spawn(self._send_finish(job))
            return failed_response(job) if job.status == "failed" else success_response(job)
        answer = processing_response(job)
        if "early" in job.behaviour.callback:
            self._finish(job)
            await self._send_finish(job)
        else:
            self._context.spawn(self._run(job))
        return answer

    async def _run(self, job: ModelsLabJob) -> None:
        await self._context.queue(job.behaviour)
        if "processing" in job.behaviour.callback:
            await self._context.send(webhook(job, "processing"))
        await self._context.work(job.behaviour)
        self._finish(job)
        await self._send_finish(job)

    async def _send_finish(self, job: ModelsLabJob) -> None:
        modes = job.behaviour.callback
        await asyncio.sleep(job.behaviour.callback_delay)
        call = webhook(job, job.status)
        await self._context.send(call)
        if "twice" in modes:
            await self._context.send(call)
        if "late_processing" in modes:
            await self._context.send(webhook(job, "processing"))
        if "conflict" in modes:
            await self._context.send(webhook(job, "success" if job.status == "failed" else "failed"))

    def _finish(self, job: ModelsLabJob) -> None:
        job.ended = now_ns()
        job.status = "success" if job.behaviour.fail is None else "failed"
        if job.status == "success":
            for name in job.files:
                self._context.gallery.finish(name)
        self._context.ledger.set_status(job.entry, "completed" if job.status == "success" else "failed")


def _family(request: Request) -> str:
    return "enterprise" if "/enterprise/" in request.url.path else "v6"


def _refused_key(body: dict[str, Any]) -> Response | None:
    return None if key_works(body.get("key")) else ProviderJson(error_body(401, "Invalid API key"), 401)


def _problem(kind: str, body: dict[str, Any]) -> str | None:
    if not isinstance(body.get("prompt"), str) or not body["prompt"]:
        return "The prompt field is required."
    if kind == "img2img" and not body.get("init_image"):
        return "The init image field is required."
    if str(body.get("samples") or 1) not in {"1", "2", "3", "4"}:
        return "The samples may not be greater than 4."
    return None


def _fault_response(fault: str, behaviour: Behaviour) -> Response:
    """ModelsLab tells the waiting time in the body, not in a header."""

    def body(status: int, message: str) -> dict[str, Any]:
        seconds = 30 if behaviour.retry_after is None else behaviour.retry_after
        wait = {"retry_after": seconds} if status == 429 else {}
        return {**error_body(status, message), **wait}

    return fault_response(fault, body)
