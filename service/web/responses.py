"""Writing responses: JSON, problems, and raw ones for the callback doors, which go without the framework."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.core.errors import CallbridgeError, MethodNotAllowed, NotFound, Unauthorized
from service.web.budget import Budget, Reservation

log = logging.getLogger("callbridge.web")
PROBLEM = "application/problem+json"
PIECE = 64 * 1024
# Larger ones take a part of the budget until they are read.
SMALL_RESPONSE = 64 * 1024


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else orjson.dumps(content)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send_pieces(send, bytes(self.body))


class LargeJson(Response):
    """A large response: its part of the budget is given back once the reader has taken it."""

    def __init__(self, response: Json, reservation: Reservation) -> None:
        self.response = response
        self.reservation = reservation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.reservation:
            await self.response(scope, receive, send)


async def within(budget: Budget, caller: str, response: Response) -> Response:
    """The response, once there is room for it if it is large. Raises Unavailable."""
    if not isinstance(response, Json) or len(response.body) <= SMALL_RESPONSE:
        return response
    reservation = budget.reserve(caller)
    await reservation.grow(len(response.body))
    return LargeJson(response, reservation)


def problem_headers(error: CallbridgeError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    return headers


def problem(error: CallbridgeError, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(error.document()),
        status_code=error.status,
        media_type=PROBLEM,
        headers={**problem_headers(error), **(headers or {})},
    )


async def send_raw(send: Send, status: int, body: bytes, content_type: str, headers: Mapping[str, str]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type.encode()),
                (b"content-length", b"%d" % len(body)),
                *((name.encode(), value.encode()) for name, value in headers.items()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_pieces(send: Send, body: bytes, more_body: bool = False) -> None:
    """In pieces: the server waits between them for a reader that is slow, and copies no more than one."""
    for first in range(0, len(body) - PIECE, PIECE):
        await send({"type": "http.response.body", "body": body[first : first + PIECE], "more_body": True})
    last = (len(body) - 1) // PIECE * PIECE if body else 0
    await send({"type": "http.response.body", "body": body[last:], "more_body": more_body})


async def on_callbridge_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CallbridgeError)
    return problem(error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        return problem(MethodNotAllowed(f"This address takes {allow or 'other methods'}."), {"allow": allow})
    if error.status_code == 404:
        return problem(NotFound("Nothing is at this address; see /openapi.json."))
    other = CallbridgeError(str(error.detail))
    other.status, other.code, other.title = error.status_code, "http_error", "Refused"
    return problem(other)


async def on_unknown_fault(request: Request, error: Exception) -> Response:
    """Nothing about it to the client; the framework raises it again, so all of it reaches the log."""
    return problem(CallbridgeError("Something went wrong here; the log has the details."))
