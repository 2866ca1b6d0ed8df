"""For the platform and the operator: health, readiness, metrics."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import Unavailable
from service.web.operations import public as operations
from service.web.operations.operation import Endpoint
from service.web.responses import Json


@dataclass(frozen=True, slots=True)
class OperatorRoutes:
    version: str
    # Names of what is stalled or broken.
    troubles: Callable[[], Awaitable[list[str]]]
    # The metrics and their content type.
    scrape: Callable[[], Awaitable[tuple[bytes, str]]]

    def endpoints(self) -> list[Endpoint]:
        return [
            (operations.HEALTH, self.health),
            (operations.READY, self.ready),
            (operations.METRICS, self.metrics),
        ]

    async def health(self, request: Request) -> Response:
        return Json({"status": "ok", "version": self.version})

    async def ready(self, request: Request) -> Response:
        wrong = await self.troubles()
        if wrong:
            raise Unavailable(f"Not ready: {', '.join(wrong)}.", retry_after=5)
        return Json({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        text, content_type = await self.scrape()
        return Response(text, media_type=content_type)
