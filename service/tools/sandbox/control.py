"""The sandbox's own routes: ledger, pictures, and controls for tests."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from .context import SandboxContext
from .modelslab import ModelsLabSandbox
from .piapi import PiApiSandbox
from .responses import ProviderJson

WELCOME = """Simulated PiAPI and ModelsLab. Any key works, nothing is charged, pictures are coloured squares.

PiAPI       POST /api/v1/task, /v1/chat/completions, /v1/images/generations
ModelsLab   POST /api/v1/enterprise/flux/text2img, /img2img, /api/v6/images/text2img, /img2img
Ledger      GET /sandbox/ledger, /sandbox/requests   POST /sandbox/reset, /sandbox/release/NAME
Misbehave   put [sandbox: delay=0.2 callback=twice] into the prompt; all keys: service/tools/sandbox/behaviour.py
"""


class Control:
    def __init__(self, context: SandboxContext, piapi: PiApiSandbox, modelslab: ModelsLabSandbox) -> None:
        self._context, self._piapi, self._modelslab = context, piapi, modelslab

    def routes(self) -> list[Route]:
        return [
            Route("/", self.welcome, methods=["GET"]),
            Route("/pictures/{name}", self.picture, methods=["GET"]),
            Route("/sandbox/ledger", self.ledger, methods=["GET"]),
            Route("/sandbox/requests", self.requests, methods=["GET"]),
            Route("/sandbox/reset", self.reset, methods=["POST"]),
            Route("/sandbox/release/{name}", self.release, methods=["POST"]),
        ]

    async def welcome(self, request: Request) -> Response:
        return PlainTextResponse(WELCOME)

    async def picture(self, request: Request) -> Response:
        match self._context.gallery.fault(request.path_params["name"]):
            case "500":
                return PlainTextResponse("out of order", 500)
            case "page":
                return HTMLResponse("<!doctype html><title>The file was deleted</title>")
        found = self._context.gallery.read(request.path_params["name"])
        if found is None:
            return PlainTextResponse("not found", 404)
        media_type, content = found
        return Response(content, media_type=media_type)

    async def ledger(self, request: Request) -> Response:
        return ProviderJson(self._context.ledger.report())

    async def requests(self, request: Request) -> Response:
        return ProviderJson({"requests": self._context.ledger.requests()})

    async def reset(self, request: Request) -> Response:
        await self._context.stop_work()
        self._context.forget_releases()
        self._context.ledger.clear()
        self._context.gallery.clear()
        self._piapi.clear()
        self._modelslab.clear()
        return Response(status_code=204)

    async def release(self, request: Request) -> Response:
        self._context.release(request.path_params["name"])
        return Response(status_code=204)
