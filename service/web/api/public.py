"""Open to all: health, the catalogue's schemas, the API's description."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import NotFound, Unavailable
from service.web.openapi import openapi
from service.web.operations import public as operations
from service.web.operations.operation import Endpoint
from service.web.responses import Json
from service.wire import schemas


@cache
def _openapi_json(version: str) -> bytes:
    return orjson.dumps(openapi(version))


@dataclass(frozen=True, slots=True)
class PublicRoutes:
    # Raises Unavailable when the store cannot be written.
    probe: Callable[[], Awaitable[None]]
    catalog: dict[str, Any]
    version: str
    # Names of what does not run as it should.
    troubles: Callable[[], list[str]]

    def endpoints(self) -> list[Endpoint]:
        return [
            (operations.CATALOG, self.show_catalog),
            (operations.HEALTH, self.health),
            (operations.READY, self.ready),
            (operations.OPENAPI, self.description),
            (operations.SCHEMA, self.schema),
            (operations.METRICS, self.metrics),
        ]

    async def health(self, request: Request) -> Response:
        return Json({"status": "ok", "version": self.version})

    async def ready(self, request: Request) -> Response:
        unwritten = []
        try:
            await self.probe()
        except Unavailable:
            unwritten = ["store"]
        # Asked after the write above: that is how a store that is well again finds out.
        wrong = list(dict.fromkeys([*self.troubles(), *unwritten]))
        if wrong:
            raise Unavailable(f"Not ready: {', '.join(wrong)}.", retry_after=5)
        return Json({"status": "ready"})

    async def description(self, request: Request) -> Response:
        return Json(_openapi_json(self.version))

    async def schema(self, request: Request) -> Response:
        name = request.path_params["name"].removesuffix(".json")
        if name not in schemas.names():
            raise NotFound("There is no such schema; GET /v1/catalog names them.")
        return Response((schemas.FOLDER / f"{name}.json").read_bytes(), media_type="application/schema+json")

    async def metrics(self, request: Request) -> Response:
        raise NotFound("Metrics are not part of this version yet.")

    async def show_catalog(self, request: Request) -> Response:
        return Json(self.catalog)
