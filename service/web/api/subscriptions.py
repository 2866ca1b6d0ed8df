"""Subscriptions over HTTP."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import Fault, NotFound, ValidationFailed
from service.core.event import FINISHING_EVENTS
from service.core.ids import new_id
from service.core.subscription import Subscription
from service.core.times import from_iso, now_ms
from service.flows.browse import Browser
from service.flows.check import target_faults
from service.flows.subscribe import Subscriber
from service.ports import Outlet, Store
from service.web.auth import caller_of
from service.web.operations import subscriptions as operations
from service.web.operations.operation import Endpoint
from service.web.requests import LARGEST_PAGE, limit_of, plain, read_json
from service.web.responses import Json
from service.wire.signature import new_secret, secret_bytes
from service.wire.tokens import Tokens


@dataclass(frozen=True, slots=True)
class SubscriptionRoutes:
    store: Store
    browser: Browser
    subscriber: Subscriber
    outlet: Outlet
    tokens: Tokens
    max_body: int

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
        body = await read_json(request, self.max_body, "api/subscription.create")
        _check_target(self.outlet, body["url"])
        secret = body.get("secret")
        if secret is not None:
            _check_secret(secret)
        now = now_ms()
        subscription = Subscription(
            id=new_id("sub"),
            owner=caller_of(request).name,
            url=body["url"],
            secret=secret or new_secret(),
            created_at=now,
            updated_at=now,
            events=tuple(body.get("events") or FINISHING_EVENTS),
            filter=body.get("filter") or {},
            description=body.get("description"),
            headers=body.get("headers") or {},
        )
        await self.store.subscriptions.add(subscription)
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
        body = await read_json(request, self.max_body, "api/subscription.change")
        if "url" in body:
            _check_target(self.outlet, body["url"])
        changed = await self._change(subscription.id, lambda item: changed_by(item, body))
        self.subscriber.wake(changed)
        return Json(changed.document())

    async def remove(self, request: Request) -> Response:
        await self.subscriber.remove(await self._owned(request))
        return Response(status_code=204)

    async def ping(self, request: Request) -> Response:
        return Json((await self.subscriber.ping(await self._owned(request))).document())

    async def rotate(self, request: Request) -> Response:
        subscription = await self._owned(request)
        changed = await self._change(subscription.id, self.subscriber.rotated)
        return Json({**changed.document(), "secret": changed.secret})

    async def replay(self, request: Request) -> Response:
        subscription = await self._owned(request)
        body = await read_json(request, self.max_body, "api/replay")
        after = body["after"]
        if isinstance(after, str):
            try:
                after = await self.store.events.seq_at(from_iso(after))
            except (ValueError, OverflowError):
                raise ValidationFailed(
                    "The time cannot be read.", faults=(Fault("/after", "must be a seq or an ISO 8601 time"),)
                ) from None
        types = tuple(body["types"]) if body.get("types") else None
        queued = await self.subscriber.replay(subscription, after, types)
        return Json({"queued": queued}, status_code=202)

    async def owner_secret(self, request: Request) -> Response:
        """What signs the deliveries to the callback_url of this key's tasks."""
        return Json({"secret": self.tokens.owner_secrets(caller_of(request).name)[0]})

    async def _owned(self, request: Request) -> Subscription:
        return await self.browser.subscription(caller_of(request), request.path_params["id"])

    async def _change(self, subscription_id: str, decide: Callable[[Subscription], Subscription]) -> Subscription:
        changed = await self.store.subscriptions.change(subscription_id, lambda item: (decide(item), None))
        if changed is None:
            raise NotFound("There is no such subscription.")
        return changed


def changed_by(item: Subscription, body: dict[str, Any]) -> Subscription:
    changes: dict[str, Any] = {name: body[name] for name in ("url", "description") if name in body}
    if "events" in body:
        changes["events"] = tuple(body["events"])
    for name in ("filter", "headers"):
        if name in body:
            changes[name] = body[name] or {}
    if "enabled" in body:
        changes["enabled"] = body["enabled"]
        if body["enabled"]:
            changes |= {"disabled_reason": None, "failing_since": None}
        elif item.enabled:
            changes["disabled_reason"] = "Disabled by its owner."
    return replace(item, updated_at=now_ms(), **changes)


def _check_secret(secret: str) -> None:
    try:
        secret_bytes(secret)
    except ValueError as fault:
        raise ValidationFailed("The secret cannot be used.", faults=(Fault("/secret", str(fault)),)) from None


def _check_target(outlet: Outlet, url: str) -> None:
    if faults := target_faults(outlet, url, "/url"):
        raise ValidationFailed(f"Deliveries cannot go to this address: {faults[0].detail}", faults=tuple(faults))
