"""Deliveries and the audit of the provider doors over HTTP."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.core.delivery import DeliveryStatus, delivery_number
from service.core.errors import Conflict, NotFound
from service.core.times import now_ms
from service.ports import DeliveryQuery, DeliveryWorker, Store
from service.web.auth import admin_of, caller_of
from service.web.requests import bad_query, limit_of, one_of, plain, whole_number
from service.web.responses import Json

STATUSES = tuple(status.value for status in DeliveryStatus)


@dataclass(frozen=True, slots=True)
class DeliveryRoutes:
    store: Store
    dispatcher: DeliveryWorker

    def routes(self) -> list[Route]:
        return [
            Route("/deliveries", self.list, methods=["GET"]),
            Route("/deliveries/{id}/retry", self.retry, methods=["POST"]),
            Route("/callbacks", self.calls, methods=["GET"]),
        ]

    async def list(self, request: Request) -> Response:
        cursor = request.query_params.get("cursor")
        before = delivery_number(cursor) if cursor is not None else None
        if cursor is not None and before is None:
            raise bad_query("cursor", "must be the next_cursor of an earlier page")
        limit = limit_of(request)
        query = DeliveryQuery(
            owner=caller_of(request).owner,
            subscription_id=plain(request, "subscription_id"),
            task_id=plain(request, "task_id"),
            status=one_of(request, "status", STATUSES),
            before=before,
            limit=limit + 1,
        )
        found = await self.store.deliveries.find(query)
        page = found[:limit]
        more = len(found) > limit
        return Json({"data": [item.document() for item in page], "next_cursor": page[-1].id if more else None})

    async def retry(self, request: Request) -> Response:
        n = delivery_number(request.path_params["id"])
        found = await self.store.deliveries.get(n) if n is not None else None
        if n is None or found is None or not caller_of(request).may_see(found.owner):
            raise NotFound("There is no such delivery.")
        if found.subscription_id is not None and self.store.subscriptions.known(found.subscription_id) is None:
            raise Conflict("Its subscription was removed: there is nobody to deliver it to.")
        again = await self.store.deliveries.retry(n, now_ms())
        if again is None:
            raise NotFound("There is no such delivery.")
        self.dispatcher.wake(again.lane)
        return Json(again.document(), status_code=202)

    async def calls(self, request: Request) -> Response:
        admin_of(request)
        limit = limit_of(request)
        found = await self.store.calls.find(
            plain(request, "result"),
            plain(request, "task_id"),
            whole_number(request, "cursor", None, 0, 2**53),
            limit + 1,
        )
        page = found[:limit]
        more = len(found) > limit
        return Json({"data": page, "next_cursor": str(page[-1]["id"]) if more else None})
