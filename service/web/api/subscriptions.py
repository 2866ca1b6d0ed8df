"""Subscriptions over HTTP."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.core.errors import Fault, NotFound, ValidationFailed
from service.core.event import FINISHING_EVENTS
from service.core.ids import new_id
from service.core.subscription import Subscription
from service.core.times import from_iso, now_ms
from service.flows.subscribe import Subscriber
from service.ports import Outlet, Store
from service.web.api.tasks import check_target
from service.web.auth import caller_of
from service.web.requests import read_json
from service.web.responses import Json
from service.wire.signature import new_secret, secret_bytes
from service.wire.tokens import Tokens


@dataclass(frozen=True, slots=True)
class SubscriptionRoutes:
    store: Store
    subscriber: Subscriber
    outlet: Outlet
    tokens: Tokens
    max_body: int

    def routes(self) -> list[Route]:
        return [
            Route("/subscriptions", self.create, methods=["POST"]),
            Route("/subscriptions", self.list, methods=["GET"]),
            Route("/subscriptions/{id}", self.read, methods=["GET"]),
            Route("/subscriptions/{id}", self.change, methods=["PATCH"]),
            Route("/subscriptions/{id}", self.remove, methods=["DELETE"]),
            Route("/subscriptions/{id}/ping", self.ping, methods=["POST"]),
            Route("/subscriptions/{id}/rotate-secret", self.rotate, methods=["POST"]),
            Route("/subscriptions/{id}/replay", self.replay, methods=["POST"]),
            Route("/webhook-secret", self.owner_secret, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        body = await read_json(request, self.max_body, "api/subscription.create")
        check_target(self.outlet, body["url"], "/url")
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
        found = await self.store.subscriptions.find(caller_of(request).owner)
        return Json({"data": [item.document() for item in found], "next_cursor": None})

    async def read(self, request: Request) -> Response:
        return Json((await self._owned(request)).document())

    async def change(self, request: Request) -> Response:
        subscription = await self._owned(request)
        body = await read_json(request, self.max_body, "api/subscription.change")
        if "url" in body:
            check_target(self.outlet, body["url"], "/url")
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
        found = await self.store.subscriptions.get(request.path_params["id"])
        if found is None or not caller_of(request).may_see(found.owner):
            raise NotFound("There is no such subscription.")
        return found

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
