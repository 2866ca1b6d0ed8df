"""Deliveries and the log of received callbacks over HTTP."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from service.core.callback import CALLBACK_RESULTS
from service.core.delivery import DeliveryStatus
from service.flows.browse import Browser
from service.flows.redeliver import Redeliverer
from service.web.auth import caller_of
from service.web.operations import deliveries as operations
from service.web.operations.operation import Endpoint
from service.web.requests import limit_of, one_of, plain
from service.web.responses import Json

STATUSES = tuple(status.value for status in DeliveryStatus)


@dataclass(frozen=True, slots=True)
class DeliveryRoutes:
    browser: Browser
    redeliverer: Redeliverer

    def endpoints(self) -> list[Endpoint]:
        return [
            (operations.LIST, self.list),
            (operations.RETRY, self.retry),
            (operations.CALLBACKS, self.callbacks),
        ]

    async def list(self, request: Request) -> Response:
        page = await self.browser.deliveries(
            caller_of(request),
            plain(request, "subscription_id"),
            plain(request, "task_id"),
            one_of(request, "status", STATUSES),
            plain(request, "cursor"),
            limit_of(request),
        )
        return Json({"data": [item.document() for item in page.items], "next_cursor": page.next_cursor})

    async def retry(self, request: Request) -> Response:
        found = await self.browser.delivery(caller_of(request), request.path_params["id"])
        return Json((await self.redeliverer.retry(found)).document(), status_code=202)

    async def callbacks(self, request: Request) -> Response:
        page = await self.browser.callbacks(
            caller_of(request),
            one_of(request, "result", CALLBACK_RESULTS),
            plain(request, "task_id"),
            plain(request, "cursor"),
            limit_of(request),
        )
        return Json({"data": page.items, "next_cursor": page.next_cursor})
