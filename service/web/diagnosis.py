"""What `doctor` calls from outside: does a body arrive unchanged, and a stream unbuffered?"""

import asyncio

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core.errors import CallbridgeError, NotFound, PayloadTooLarge
from service.web.responses import PROBLEM, send_raw
from service.wire.diagnosis import LARGEST_BODY, PREFIX, Diagnosis

# Seconds between the pieces of the stream, and how many there are.
PAUSE, PIECES = 0.4, 3
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class DiagnosisDoor:
    """Wraps `app`. A 404 without a token made with this database."""

    def __init__(self, app: ASGIApp, diagnosis: Diagnosis) -> None:
        self.app = app
        self.diagnosis = diagnosis

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        token = scope["path"].removeprefix(PREFIX)
        try:
            if not self.diagnosis.accepts(token):
                raise NotFound("Nothing is at this address; see /openapi.json.")
            if scope["method"] == "POST":
                body = await _body(Request(scope, receive))
                proof = orjson.dumps({"proof": self.diagnosis.proof(token, body), "bytes": len(body)})
                await send_raw(send, 200, proof, "application/json", {"cache-control": "no-store"})
            else:
                await _stream(send)
        except ClientDisconnect:
            return
        except CallbridgeError as error:
            await send_raw(send, error.status, orjson.dumps(error.document()), PROBLEM, {})


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise PayloadTooLarge(f"The body may have at most {LARGEST_BODY} bytes.")
    return body


async def _stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
    for number in range(PIECES):
        if number:
            await asyncio.sleep(PAUSE)
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
