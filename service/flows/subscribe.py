"""Manage subscriptions: create, change, ping, rotate the secret, replay, remove."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs

from service.core.delivery import Delivery
from service.core.errors import Conflict, Fault, NotFound, UnknownCursor, ValidationFailed
from service.core.event import FINISHING_EVENTS, encode
from service.core.examples import example_event
from service.core.ids import new_id
from service.core.subscription import Subscription
from service.core.times import from_iso, now_ms
from service.flows.check import target_faults
from service.ports.outlets import DeliveryWorker, Outlet
from service.ports.queries import EventQuery
from service.ports.replays import Replay
from service.ports.store import Store
from service.wire import validation
from service.wire.signature import new_secret, secret_bytes

BOTH_SIGN_MS = 24 * 3600 * 1000
# Each adds a signature to the header, which must not grow without end.
MOST_OLD_SECRETS = 10
# Events of a replay are counted so many at a time, by number or by their bytes.
STEP, STEP_BYTES = 200, 1024 * 1024


class SubscriptionManager:
    def __init__(
        self, store: Store, dispatcher: DeliveryWorker, outlet: Outlet, most: int, on_replay: Callable[[], None]
    ) -> None:
        """`most` is the limit of one owner; `on_replay` is called when a replay was started."""
        self.store = store
        self.most = most
        self.on_replay = on_replay
        self.dispatcher = dispatcher
        self.outlet = outlet

    async def create(self, owner: str, body: Any) -> Subscription:
        """`body` as in schemas/api/subscription.create.json. Raises ValidationFailed with every fault, Conflict."""
        self._check(body, "api/subscription.create")
        now = now_ms()
        subscription = Subscription(
            id=new_id("sub"),
            owner=owner,
            url=body["url"],
            secret=body.get("secret") or new_secret(),
            created_at=now,
            updated_at=now,
            events=tuple(body.get("events") or FINISHING_EVENTS),
            filter=body.get("filter") or {},
            description=body.get("description"),
            headers=body.get("headers") or {},
        )
        await self.store.subscriptions.add(subscription, self.most)
        return subscription

    async def change(self, subscription: Subscription, body: Any) -> Subscription:
        """`body` as in schemas/api/subscription.change.json. Raises ValidationFailed, NotFound."""
        self._check(body, "api/subscription.change")
        changed = await self._change(subscription, lambda item: changed_by(item, body))
        if changed.enabled:
            self.dispatcher.wake(changed.id)
        return changed

    async def rotate(self, subscription: Subscription) -> Subscription:
        """Replace the secret; the old one also signs for 24 hours. Raises Conflict when too many would sign."""
        return await self._change(subscription, rotated)

    def _check(self, body: Any, schema: str) -> None:
        faults = validation.faults(schema, body)
        if isinstance(body, dict):
            if isinstance(url := body.get("url"), str):
                faults += target_faults(self.outlet, url, "/url")
            if not faults and (secret := body.get("secret")) is not None:
                faults += _secret_faults(secret)
        if faults:
            raise ValidationFailed("The request body is invalid; see errors.", faults=tuple(faults))

    async def _change(self, subscription: Subscription, decide: Callable[[Subscription], Subscription]) -> Subscription:
        changed = await self.store.subscriptions.change(subscription.id, lambda item: (decide(item), None))
        if changed is None:
            raise NotFound("There is no such subscription.")
        return changed

    async def ping(self, subscription: Subscription, event_type: str = "ping") -> Delivery:
        """One attempt now, without retries; also for a disabled subscription, to test its receiver.

        With another type the receiver gets the example of that event, marked as a test.
        """
        now = now_ms()
        delivery = await self.store.deliveries.ping(self.dispatcher.worker, subscription, now)
        if event_type != "ping":
            example = example_event(delivery.event_id, delivery.seq, event_type, now)
            delivery = structs.replace(delivery, event_type=event_type, body=encode(example))
        return await self.dispatcher.ping(delivery)

    async def replay(self, subscription: Subscription, start: int | str, types: tuple[str, ...] | None = None) -> int:
        """Queue stored events again, as far as the subscription's types and filter match. Returns how many.

        `start` is a seq, or an ISO 8601 time (UTC without a zone). Raises ValidationFailed, Conflict, UnknownCursor.
        """
        if not subscription.enabled:
            raise Conflict("The subscription is disabled: enable it first.")
        # JSON has only numbers, so 12.0 is the seq 12.
        after = await self._seq_at(start) if isinstance(start, str) else int(start)
        wanted = tuple(name for name in subscription.events if types is None or name in types)
        last = await self.store.events.last_seq()
        if after > last:
            raise UnknownCursor(f"The last event has seq {last}; there never was {after} in this database.")
        replay = Replay(subscription.id, after, last, wanted)
        if not wanted or after >= replay.up_to:
            return 0
        queued = await self._count(subscription, replay)
        if queued:
            await self.store.replays.start(replay)
            self.on_replay()
        return queued

    async def _count(self, subscription: Subscription, replay: Replay) -> int:
        if not subscription.filter:
            return await self.store.replays.count(subscription.owner, replay)
        found: int = 0
        after = replay.after
        while True:
            query = EventQuery(subscription.owner, after, replay.up_to, replay.types, None, STEP, STEP_BYTES)
            page = await self.store.events.after(query)
            found += sum(1 for event in page if subscription.matches_stored(event))
            if not page.more:
                return found
            after = page[-1].seq

    async def remove(self, subscription: Subscription) -> None:
        await self.store.subscriptions.remove(subscription.id)
        self.dispatcher.bury_if_removed(subscription.id)

    async def _seq_at(self, text: str) -> int:
        try:
            return await self.store.events.seq_at(from_iso(text))
        except (ValueError, OverflowError):
            fault = Fault("/after", "must be a seq or an ISO 8601 time")
            raise ValidationFailed("The time is not valid.", faults=(fault,)) from None


def rotated(subscription: Subscription) -> Subscription:
    now = now_ms()
    still_signing = [old for old in subscription.old_secrets if old[1] > now]
    if len(still_signing) >= MOST_OLD_SECRETS:
        raise Conflict(f"{MOST_OLD_SECRETS} older secrets still sign; rotate again when one of them has expired.")
    return replace(
        subscription,
        secret=new_secret(),
        old_secrets=((subscription.secret, now + BOTH_SIGN_MS), *still_signing),
        updated_at=now,
    )


def changed_by(item: Subscription, body: Mapping[str, Any]) -> Subscription:
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


def _secret_faults(secret: str) -> list[Fault]:
    try:
        secret_bytes(secret)
    except ValueError as fault:
        return [Fault("/secret", str(fault))]
    return []
