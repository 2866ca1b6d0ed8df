"""Subscriptions: the list with the form for a new one, and the page of each."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from service.core.errors import CallbridgeError, NotFound, ValidationFailed
from service.core.event import EVENT_TYPES, FINISHING_EVENTS
from service.core.subscription import Subscription
from service.core.times import now_ms, to_iso
from service.flows.browse import Browser
from service.flows.redeliver import Redeliverer
from service.flows.subscribe import SubscriptionManager
from service.ports.insight import InsightStore
from service.web.page.charts import HOUR, HOURS, health_chart
from service.web.page.forms import Form, alert_of
from service.web.page.gate import Gate, Notice, SeeOther, Visit
from service.web.page.rendering import render
from service.web.page.words import duration

PAGE = 50
LAST = 20
# How many deliveries the chart of one subscription looks at.
COUNTED = 200
DAY_MS = HOURS * HOUR
# `seconds` of an ISO time: what the field `From` shows.
TO_SECOND = 19


class SubscriptionListPage:
    def __init__(self, gate: Gate, browser: Browser, subscriptions: SubscriptionManager, insight: InsightStore) -> None:
        self.gate = gate
        self.browser = browser
        self.subscriptions = subscriptions
        self.insight = insight

    def routes(self) -> list[Route]:
        return [self.gate.get("/subscriptions", self.show), self.gate.post("/subscriptions", self.create)]

    async def show(self, visit: Visit, error: CallbridgeError | None = None) -> Response:
        cursor = visit.form.get("cursor") if visit.request.method == "GET" else None
        page = await self.browser.subscriptions(visit.caller, cursor, PAGE)
        counts = await self.insight.deliveries_by_status([item.id for item in page.items], now_ms() - DAY_MS)
        return render(
            "subscriptions.html",
            visit.caller,
            error.status if error else 200,
            notice=visit.notice,
            secret=await new_secret(self.browser, visit),
            alert=alert_of(error),
            wrong=faults_by_field(error),
            typed=_typed(visit.form) if error else {"url": "", "description": "", "events": FINISHING_EVENTS},
            choices=EVENT_TYPES,
            subscriptions=page.items,
            rates={name: _rate(found) for name, found in counts.items()},
            following=f"/subscriptions?cursor={page.next_cursor}" if page.next_cursor else None,
        )

    async def create(self, visit: Visit) -> Response | SeeOther:
        typed = _typed(visit.form)
        body = {"url": typed["url"], "events": list(typed["events"]), "description": typed["description"] or None}
        try:
            made = await self.subscriptions.create(visit.caller.name, body)
        except ValidationFailed as error:
            return await self.show(visit, error)
        return SeeOther("/subscriptions", Notice(f"Subscribed {made.url}. Its secret:", secret_of=made.id))


class SubscriptionPage:
    def __init__(
        self, gate: Gate, browser: Browser, subscriptions: SubscriptionManager, redeliverer: Redeliverer
    ) -> None:
        self.gate = gate
        self.browser = browser
        self.subscriptions = subscriptions
        self.redeliverer = redeliverer

    def routes(self) -> list[Route]:
        path = "/subscriptions/{id}"
        actions = {
            "ping": self.ping,
            "rotate": self.rotate,
            "replay": self.replay,
            "enable": self.enable,
            "disable": self.disable,
        }
        return [
            self.gate.get(path, self.show),
            *(self.gate.post(f"{path}/{name}", self._action(handler)) for name, handler in actions.items()),
            self.gate.get(f"{path}/remove", self.ask_to_remove),
            self.gate.post(f"{path}/remove", self.remove),
        ]

    async def show(self, visit: Visit, error: CallbridgeError | None = None) -> Response:
        item = await self._owned(visit)
        deliveries = (await self.browser.deliveries(visit.caller, item.id, limit=COUNTED)).items
        now = now_ms()
        replayed = visit.form.get("from") if error else None
        return render(
            "subscription.html",
            visit.caller,
            error.status if error else 200,
            notice=visit.notice,
            secret=await new_secret(self.browser, visit),
            alert=error.detail if error else None,
            item=item,
            health=health_chart(deliveries, now),
            deliveries=deliveries[:LAST],
            retryable=self.redeliverer.retryable(deliveries[:LAST]),
            replay_from=replayed if replayed is not None else to_iso(now - DAY_MS)[:TO_SECOND],
            replay_wrong=replayed is not None,
        )

    def _action(
        self, handler: Callable[[Subscription, Form], Awaitable[Notice]]
    ) -> Callable[[Visit], Awaitable[Response | SeeOther]]:
        """Run the action, then show the page again with its outcome."""

        async def act(visit: Visit) -> Response | SeeOther:
            item = await self._owned(visit)
            try:
                notice = await handler(item, visit.form)
            except CallbridgeError as error:
                return await self.show(visit, error)
            return SeeOther(f"/subscriptions/{item.id}", notice)

        return act

    async def ping(self, item: Subscription, form: Form) -> Notice:
        delivery = await self.subscriptions.ping(item)
        if not delivery.attempts:
            return Notice("The ping could not be sent.", good=False)
        attempt = delivery.attempts[-1]
        code, took = attempt["status_code"], duration(attempt["duration_ms"])
        if code is None:
            return Notice(f"Ping: no response ({attempt['error']}) after {took}.", good=False)
        arrived = 200 <= code < 300
        said = "delivered" if arrived else "not delivered"
        return Notice(f"Ping: {said}, the receiver responded {code} in {took}.", good=arrived)

    async def rotate(self, item: Subscription, form: Form) -> Notice:
        await self.subscriptions.rotate(item)
        return Notice("The secret was rotated; old and new both sign for 24 hours. The new one:", secret_of=item.id)

    async def replay(self, item: Subscription, form: Form) -> Notice:
        start = form.text("from")
        queued = await self.subscriptions.replay(item, int(start) if start.isascii() and start.isdigit() else start)
        return Notice(f"Replaying {queued} event{'' if queued == 1 else 's'}.")

    async def enable(self, item: Subscription, form: Form) -> Notice:
        await self.subscriptions.change(item, {"enabled": True})
        return Notice("Enabled: waiting deliveries are sent now.")

    async def disable(self, item: Subscription, form: Form) -> Notice:
        await self.subscriptions.change(item, {"enabled": False})
        return Notice("Disabled: nothing is delivered until you enable it again.")

    async def ask_to_remove(self, visit: Visit) -> Response:
        return render("remove.html", visit.caller, item=await self._owned(visit))

    async def remove(self, visit: Visit) -> SeeOther:
        item = await self._owned(visit)
        await self.subscriptions.remove(item)
        return SeeOther("/subscriptions", Notice(f"Removed {item.url}."))

    async def _owned(self, visit: Visit) -> Subscription:
        return await self.browser.subscription(visit.caller, visit.path("id"))


async def new_secret(browser: Browser, visit: Visit) -> str | None:
    """The secret that the last action created: shown once, on the page after it."""
    if visit.notice is None or visit.notice.secret_of is None:
        return None
    try:
        return (await browser.subscription(visit.caller, visit.notice.secret_of)).secret
    except NotFound:
        return None


def faults_by_field(error: CallbridgeError | None) -> dict[str, str]:
    """The first error of each field, by the first name in its pointer."""
    found: dict[str, str] = {}
    for fault in error.faults if error else ():
        found.setdefault(fault.pointer.strip("/").split("/")[0], fault.detail)
    return found


def _typed(form: Form) -> dict[str, Any]:
    return {"url": form.text("url"), "description": form.text("description"), "events": form.all("events")}


def _rate(counts: Mapping[str, int]) -> tuple[float, int]:
    """The share delivered among deliveries that have ended, and how many have ended."""
    decided = counts.get("delivered", 0) + counts.get("dead", 0)
    return (counts.get("delivered", 0) / decided if decided else 0.0), decided
