"""All pages joined: what `main` hands to the route table."""

import hashlib
from collections.abc import Sequence

from itsdangerous import URLSafeTimedSerializer
from starlette.routing import Route

from service.flows.browse import Browser
from service.flows.hub import Hub
from service.ports.insight import InsightStore
from service.settings import ApiKey
from service.web.page.assets import serve_asset
from service.web.page.gate import Gate
from service.web.page.live import LiveDoor
from service.web.page.login import LoginPages
from service.web.page.now import NowPage
from service.web.page.sessions import Sessions
from service.web.page.tasks import TaskListPage
from service.wire import schemas


def gate_of(secret_keys: Sequence[str], api_keys: Sequence[ApiKey], max_body: int) -> Gate:
    newest_last = list(reversed(secret_keys))
    notices = URLSafeTimedSerializer(newest_last, salt="notice", signer_kwargs={"digest_method": hashlib.sha256})
    return Gate(Sessions(secret_keys, api_keys), max_body, notices)


class Site:
    def __init__(self, gate: Gate, browser: Browser, insight: InsightStore, hub: Hub) -> None:
        self.gate = gate
        self.live = LiveDoor(gate, browser, hub)
        catalog = schemas.load("catalog")
        models = tuple(sorted({model for entry in catalog.values() for model in entry["models"]}))
        self.routes: list[Route] = [
            Route("/static/{name}", serve_asset, methods=["GET"]),
            *LoginPages(gate).routes(),
            *NowPage(gate, browser, insight).routes(),
            *TaskListPage(gate, browser, tuple(catalog), models).routes(),
            *self.live.routes(),
        ]
