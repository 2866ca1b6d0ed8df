"""The page of all deliveries, with buttons to retry them."""

from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from service.core.delivery import Delivery, DeliveryStatus
from service.core.errors import CallbridgeError, ValidationFailed
from service.flows.browse import Browser, Page
from service.flows.redeliver import Redeliverer
from service.ports.insight import InsightStore
from service.web.page.gate import Gate, Notice, SeeOther, Visit
from service.web.page.login import local_path
from service.web.page.rendering import render

STATUSES = tuple(status.value for status in DeliveryStatus)


class DeliveryPage:
    def __init__(self, gate: Gate, browser: Browser, redeliverer: Redeliverer, insight: InsightStore) -> None:
        self.gate = gate
        self.browser = browser
        self.redeliverer = redeliverer
        self.insight = insight

    def routes(self) -> list[Route]:
        return [
            self.gate.get("/deliveries", self.show),
            self.gate.post("/deliveries/retry-dead", self.retry_all_dead),
            self.gate.post("/deliveries/{id}/retry", self.retry),
        ]

    async def show(self, visit: Visit, error: CallbridgeError | None = None) -> Response:
        # After a refused retry the list is shown without the form's fields.
        typed = visit.form.text("status") if visit.request.method == "GET" else ""
        page: Page[Delivery] = Page([], None)
        try:
            if typed and typed not in STATUSES:
                raise ValidationFailed(f"Status must be one of {', '.join(STATUSES)}.")
            page = await self.browser.deliveries(visit.caller, status=typed or None, cursor=visit.form.get("cursor"))
        except ValidationFailed as refused:
            error = refused
        following = None
        if page.next_cursor is not None:
            following = "/deliveries?" + urlencode({"status": typed, "cursor": page.next_cursor})
        return render(
            "deliveries.html",
            visit.caller,
            error.status if error else 200,
            notice=visit.notice,
            alert=error.detail if error else None,
            typed=typed,
            statuses=STATUSES,
            deliveries=page.items,
            retryable=self.redeliverer.retryable(page.items),
            some_dead=bool(await self.insight.dead_with_a_receiver(visit.caller.owner, 1)),
            following=following,
        )

    async def retry(self, visit: Visit) -> Response | SeeOther:
        delivery = await self.browser.delivery(visit.caller, visit.path("id"))
        try:
            await self.redeliverer.retry(delivery)
        except CallbridgeError as error:
            return await self.show(visit, error)
        back = visit.form.text("back")
        return SeeOther(local_path(back) if back else "/deliveries", Notice("The delivery is being retried."))

    async def retry_all_dead(self, visit: Visit) -> SeeOther:
        queued = await self.redeliverer.retry_all_dead(visit.caller.owner)
        text = f"Trying {queued} {'delivery' if queued == 1 else 'deliveries'} again." if queued else NOTHING
        return SeeOther("/deliveries", Notice(text, good=bool(queued)))


NOTHING = "No dead delivery can be retried: their subscriptions were removed or are disabled."
