"""Responses: JSON, none at all, a broken connection, a stream, and the faults that a request may ask for."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .untidy import encoding, untidy

# (status, message) -> this provider's error body
ErrorBody = Callable[[int, str], dict[str, Any]]

MESSAGES = {
    400: "invalid request",
    401: "Invalid API key",
    402: "insufficient credits",
    404: "task not found",
    429: "Rate limit exceeded. Maximum 5 queued requests allowed.",
    500: "internal server error",
    502: "bad gateway",
}


QUOTA = "You exceeded your current quota, please check your plan and billing details."
FIREWALL = (
    "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head>"
    "<body><h1>Sorry, you have been blocked</h1></body></html>"
)


class ConnectionCut(Exception):
    """Raised by a stream to break the connection here."""


class ProviderJson(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class UntidyJson(ProviderJson):
    """JSON in one of the ways of `untidy`; an empty way leaves it as it is."""

    def __init__(self, content: Any, way: str) -> None:
        self._way = way
        super().__init__(content, headers=encoding(way))

    def render(self, content: Any) -> bytes:
        return untidy(self._way, super().render(content))


class NoResponse(Response):
    """Never responds; ends when the caller or the server gives up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _wait_for_disconnect(receive)
        except asyncio.CancelledError:  # the server stops
            _cut(receive, hard=False)
            await _wait_for_disconnect(receive)


class ConnectionReset(Response):
    """Breaks the connection instead of responding."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _cut(receive, hard=True)
        await _wait_for_disconnect(receive)


class ProviderStream(Response):
    """Sends chunks as they come; stops when the reader disconnects."""

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send_all(send))
        disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            await asyncio.wait({sending, disconnected}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except (ConnectionCut, asyncio.CancelledError):  # asked for, or the server stops
            _cut(receive, hard=False)
        finally:
            sending.cancel()
            disconnected.cancel()
            await asyncio.gather(sending, disconnected, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def fault_response(fault: str, error_body: ErrorBody, retry_after: float | None = None) -> Response:
    match fault:
        case "timeout":
            return NoResponse()
        case "reset":
            return ConnectionReset()
        case "garbage":
            return Response("<html><head><title>Just a moment...</title></head></html>", media_type="text/html")
        case "firewall":
            return Response(FIREWALL, 403, media_type="text/html")
        case "redirect":
            return Response(status_code=302, headers={"Location": "https://www.example.com/"})
        case "quota":
            return ProviderJson(
                {"error": {"message": QUOTA, "type": "insufficient_quota", "code": "insufficient_quota"}}, 429
            )
        case "busy200":
            return ProviderJson(error_body(429, MESSAGES[429]), 200)
    status = int(fault)
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return ProviderJson(error_body(status, MESSAGES[status]), status, headers)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _cut(receive: Receive, hard: bool) -> None:
    # ASGI cannot break a connection; uvicorn's request cycle, which owns `receive`, knows its transport.
    transport: asyncio.Transport | None = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("this server cannot break a connection; run the sandbox on uvicorn")
    if hard and (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
