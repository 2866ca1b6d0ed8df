"""The demo's webhook receiver: all that a user of Callbridge needs to write."""

import asyncio
import base64
import hmac
import time
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class DemoReceiver:
    """Responds 204 to correctly signed events, 401 to everything else."""

    def __init__(self) -> None:
        self.secret = ""
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.app = Starlette(routes=[Route("/hook", self.take, methods=["POST"])])

    async def take(self, request: Request) -> Response:
        body = await request.body()
        if not verified(self.secret, request.headers, body):
            return Response(status_code=401)
        self.events.put_nowait(orjson.loads(body))
        return Response(status_code=204)


def verified(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Standard Webhooks, written out here so that our own code does not verify its own signatures."""
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(time.time() - int(sent_at)) > 300:
        return False
    signed = f"{headers.get('webhook-id')}.{sent_at}.".encode() + body
    digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, "sha256")
    good = b"v1," + base64.b64encode(digest)
    return any(hmac.compare_digest(one.encode(), good) for one in headers.get("webhook-signature", "").split())
