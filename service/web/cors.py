"""Cross-origin use of signed links: a page of any origin may read their responses, errors included.

The token in the link is the only credential, so every origin is treated alike.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.errors import Unauthorized

ALLOW_ORIGIN = (b"access-control-allow-origin", b"*")
PREFLIGHT = {
    "access-control-allow-methods": "GET",
    # `*` for current browsers; the headers that stream clients send, for older ones.
    "access-control-allow-headers": "*, Last-Event-ID, Cache-Control, Accept, Content-Type, X-Requested-With",
    "access-control-max-age": "7200",
}


class OpenToOrigins:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def open_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), ALLOW_ORIGIN]
            await send(message)

        await self.app(scope, receive, open_send if b"token=" in scope["query_string"] else send)


async def preflight(request: Request) -> Response:
    if "token" not in request.query_params:
        raise Unauthorized("Pages of another origin need a signed link; see links.stream of the task.")
    return Response(status_code=204, headers=PREFLIGHT)
