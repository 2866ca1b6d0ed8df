"""All pages together, as routes for the application."""

import hashlib
from collections.abc import Sequence

from itsdangerous import URLSafeTimedSerializer
from starlette.routing import Route

from service.core.caller import ApiKey
from service.flows.hub import Hub
from service.ports.insight import InsightStore
from service.web.page.assets import serve_asset
from service.web.page.deliveries import DeliveryPage
from service.web.page.flows import Flows
from service.web.page.gate import Gate
from service.web.page.live import LiveDoor
from service.web.page.login import LoginPages
from service.web.page.now import NowPage
from service.web.page.reference import ReferencePage
from service.web.page.sessions import Sessions
from service.web.page.subscriptions import SubscriptionListPage, SubscriptionPage
from service.web.page.task import TaskPage
from service.web.page.tasks import TaskListPage
from service.web.page.try_it import TryPage
from service.web.requests import Bodies
from service.wire import schemas


def gate_of(secret_keys: Sequence[str], api_keys: Sequence[ApiKey], bodies: Bodies) -> Gate:
    newest_last = list(reversed(secret_keys))
    notices = URLSafeTimedSerializer(newest_last, salt="notice", signer_kwargs={"digest_method": hashlib.sha256})
    return Gate(Sessions(secret_keys, api_keys), bodies, notices)


class Site:
    """`public_url` is the address in the request snippets."""

    def __init__(self, gate: Gate, flows: Flows, insight: InsightStore, hub: Hub, public_url: str) -> None:
        self.gate = gate
        self.live = LiveDoor(gate, flows.browser, hub)
        browser = flows.browser
        catalog = schemas.load("catalog")
        models = tuple(sorted({model for entry in catalog.values() for model in entry["models"]}))
        pages = [
            LoginPages(gate).routes(),
            NowPage(gate, browser, insight).routes(),
            TaskListPage(gate, browser, tuple(catalog), models).routes(),
            TaskPage(gate, flows, insight, public_url).routes(),
            SubscriptionListPage(gate, browser, flows.subscriptions, insight).routes(),
            SubscriptionPage(gate, browser, flows.subscriptions, flows.redeliverer).routes(),
            DeliveryPage(gate, browser, flows.redeliverer, insight).routes(),
            TryPage(gate, browser, flows.submitter, catalog, public_url).routes(),
            ReferencePage(gate).routes(),
            self.live.routes(),
        ]
        self.routes = [Route("/static/{name}", serve_asset, methods=["GET"])]
        self.routes += [route for page in pages for route in page]
