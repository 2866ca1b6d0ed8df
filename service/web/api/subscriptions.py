"""Subscriptions over HTTP."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from service.core.subscription import Subscription
from service.flows.browse import Browser
from service.flows.subscribe import SubscriptionManager
from service.web.auth import caller_of
from service.web.operations import subscriptions as operations
from service.web.operations.operation import Endpoint
from service.web.requests import LARGEST_PAGE, Bodies, limit_of, plain, read_document, read_json
from service.web.responses import Json
from service.wire.tokens import Tokens


@dataclass(frozen=True, slots=True)
class SubscriptionRoutes:
    browser: Browser
    subscriptions: SubscriptionManager
    tokens: Tokens
    bodies: Bodies

    def endpoints(self) -> list[Endpoint]:
        return [
            (operations.CREATE, self.create),
            (operations.LIST, self.list),
            (operations.READ, self.read),
            (operations.CHANGE, self.change),
            (operations.REMOVE, self.remove),
            (operations.PING, self.ping),
            (operations.ROTATE_SECRET, self.rotate),
            (operations.REPLAY, self.replay),
            (operations.OWNER_SECRET, self.owner_secret),
        ]

    async def create(self, request: Request) -> Response:
        body = await read_document(request, self.bodies)
        subscription = await self.subscriptions.create(caller_of(request).name, body)
        shown = {**subscription.document(), "secret": subscription.secret}
        return Json(shown, status_code=201, headers={"location": f"/v1/subscriptions/{subscription.id}"})

    async def list(self, request: Request) -> Response:
        page = await self.browser.subscriptions(
            caller_of(request), plain(request, "cursor"), limit_of(request, LARGEST_PAGE)
        )
        return Json({"data": [item.document() for item in page.items], "next_cursor": page.next_cursor})

    async def read(self, request: Request) -> Response:
        return Json((await self._owned(request)).document())

    async def change(self, request: Request) -> Response:
        subscription = await self._owned(request)
        body = await read_document(request, self.bodies)
        return Json((await self.subscriptions.change(subscription, body)).document())

    async def remove(self, request: Request) -> Response:
        await self.subscriptions.remove(await self._owned(request))
        return Response(status_code=204)

    async def ping(self, request: Request) -> Response:
        subscription = await self._owned(request)
        event_type = "ping"
        if has_body(request):
            event_type = (await read_json(request, self.bodies, "api/ping")).get("type", "ping")
        return Json((await self.subscriptions.ping(subscription, event_type)).document())

    async def rotate(self, request: Request) -> Response:
        changed = await self.subscriptions.rotate(await self._owned(request))
        return Json({**changed.document(), "secret": changed.secret})

    async def replay(self, request: Request) -> Response:
        subscription = await self._owned(request)
        body = await read_json(request, self.bodies, "api/replay")
        types = tuple(body["types"]) if body.get("types") else None
        # Counting may look at every event of the owner.
        async with self.browser.turns.take(caller_of(request).name):
            queued = await self.subscriptions.replay(subscription, body["after"], types)
        return Json({"queued": queued}, status_code=202)

    async def owner_secret(self, request: Request) -> Response:
        """The secret that signs deliveries to the callback_url of this key's tasks."""
        return Json({"secret": self.tokens.owner_secrets(caller_of(request).name)[0]})

    async def _owned(self, request: Request) -> Subscription:
        return await self.browser.subscription(caller_of(request), request.path_params["id"])


def has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
