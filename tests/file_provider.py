"""A PiAPI that finishes at once, with files of its own making that may misbehave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.net.tls import trusted
from service.tools.harness.serving import serving

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 300
Page = Callable[[Request], Response]


def picture(request: Request) -> Response:
    return Response(PNG, media_type="image/png")


@dataclass
class FileProvider:
    """`pages` answers for the files; a file without an entry is a picture."""

    url: str = ""
    pages: dict[str, Page] = field(default_factory=dict)
    requested: list[str] = field(default_factory=list)
    _calling: set[asyncio.Task[None]] = field(default_factory=set)

    def task(self, *names: str) -> dict[str, Any]:
        """The body of a submit; its result has these files."""
        return {
            "provider": "piapi",
            "model": "Qubico/flux1-schnell",
            "task_type": "txt2img",
            "input": {"prompt": " ".join(names)},
        }

    async def submit(self, request: Request) -> Response:
        body = await request.json()
        done = body | {"task_id": str(uuid4()), "status": "completed", "error": {"code": 0, "message": ""}}
        names = body["input"]["prompt"].split()
        done["output"] = {"image_url": "", "image_urls": [f"{self.url}/files/{name}" for name in names]}
        calling = asyncio.create_task(self._call(body["config"]["webhook_config"], done))
        self._calling.add(calling)
        calling.add_done_callback(self._calling.discard)
        return JSONResponse({"code": 200, "data": done | {"status": "pending", "output": None}, "message": "success"})

    async def _call(self, callback: dict[str, str], done: dict[str, Any]) -> None:
        async with httpx.AsyncClient(verify=trusted()) as client:
            for _ in range(100):
                with contextlib.suppress(httpx.TransportError):
                    headers = {"x-webhook-secret": callback["secret"]}
                    body = {"timestamp": 1, "data": done}
                    if (await client.post(callback["endpoint"], json=body, headers=headers)).status_code == 200:
                        return
                await asyncio.sleep(0.1)

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.requested.append(name)
        return self.pages.get(name, picture)(request)


@contextlib.asynccontextmanager
async def file_provider() -> AsyncIterator[FileProvider]:
    one = FileProvider()
    routes = [Route("/api/v1/task", one.submit, methods=["POST"]), Route("/files/{name:path}", one.file)]
    async with serving(Starlette(routes=routes)) as url:
        one.url = url
        yield one
