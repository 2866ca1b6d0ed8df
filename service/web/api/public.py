"""Open to everyone: the catalog, its schemas and the API description."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import NotFound
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
    catalog: dict[str, Any]
    version: str

    def endpoints(self) -> list[Endpoint]:
        return [
            (operations.CATALOG, self.show_catalog),
            (operations.OPENAPI, self.description),
            (operations.SCHEMA, self.schema),
        ]

    async def description(self, request: Request) -> Response:
        return Json(_openapi_json(self.version))

    async def schema(self, request: Request) -> Response:
        name = request.path_params["name"].removesuffix(".json")
        if name not in schemas.names():
            raise NotFound("There is no such schema; GET /v1/catalog names them.")
        return Response((schemas.FOLDER / f"{name}.json").read_bytes(), media_type="application/schema+json")

    async def show_catalog(self, request: Request) -> Response:
        return Json(self.catalog)
