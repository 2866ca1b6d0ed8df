"""The callback doors: plain ASGI in front of the framework, since callbacks are the path that must be fast.

Order matters: token and secret are checked before one byte of the body is read.
"""

import logging
from collections.abc import Callable

import orjson
from starlette.types import Receive, Scope, Send

from service.core.asgi import EMPTY_RESPONSE
from service.core.errors import (
    CallbridgeError,
    Conflict,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unauthorized,
    Unavailable,
)
from service.core.throttled_warning import ThrottledWarning
from service.flows.receive import CallbackHandler
from service.ports.callbacks import ReceivedCallback
from service.ports.providers import CallbackRefused
from service.web.auth import Bucket
from service.web.request_log import given_or_new_id
from service.web.requests import Bodies, ClientGone, read_body
from service.web.responses import PROBLEM, problem_headers, send_raw
from service.wire.tokens import CallbackToken

log = logging.getLogger("callbridge.door")
UNWRITTEN = ThrottledWarning(log, "%d refused callbacks were not recorded: too many in one second")

PREFIX = "/webhooks/"
KEPT_BODY = 4096
# Refused callbacks recorded per second: a stranger must not fill the disk.
AUDIT_RATE = 20.0
# Without a body, since providers read only the status.
ACCEPTED = (
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]},
    {"type": "http.response.body", "body": b""},
)
REFUSALS = {400: InvalidRequest, 401: Unauthorized, 404: NotFound, 409: Conflict}


class Door:
    def __init__(
        self,
        handler: CallbackHandler,
        bodies: Bodies,
        redact: Callable[[bytes], str],
        count: Callable[[str, str], None],
    ) -> None:
        """`count` gets the provider as the caller wrote it, and the result."""
        self.handler = handler
        self.bodies = bodies
        self.redact = redact
        self.count = count
        self._audit = Bucket(AUDIT_RATE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._take(scope, receive)
        except ClientGone:
            return
        except CallbridgeError as error:
            await _send_problem(send, error, scope)
        except Exception:
            log.exception("unexpected error in a callback", extra={"request_id": _request_id(scope)})
            await _send_problem(send, CallbridgeError("Something went wrong here; the log has the details."), scope)
        else:
            offered = scope.get("extensions", {}).get(EMPTY_RESPONSE)
            if offered is None or not offered["send"](scope):
                for message in ACCEPTED:
                    await send(message)

    async def _take(self, scope: Scope, receive: Receive) -> None:
        provider_name, _, token_text = scope["path"][len(PREFIX) :].partition("/")
        if scope["method"] != "POST":
            raise MethodNotAllowed("Providers call this address with POST.")
        headers = dict(scope["headers"])
        token: CallbackToken | None = None
        body = b""
        try:
            provider, token = self.handler.open(provider_name, token_text, headers)
            with self.bodies.budget.reserve(provider_name) as reservation:
                body = await read_body(receive, headers.get(b"content-length"), self.bodies.limit, reservation)
                result = await self.handler.receive(provider, token, body)
            self.count(provider_name, result)
        except CallbackRefused as refused:
            await self._note(scope, provider_name, token, refused.status, refused, body)
            raise REFUSALS[refused.status](refused.detail) from None
        except CallbridgeError as error:
            if error.status < 500:
                await self._note(scope, provider_name, token, error.status, error, body)
            raise

    async def _note(
        self,
        scope: Scope,
        provider: str,
        token: CallbackToken | None,
        status: int,
        error: CallbackRefused | CallbridgeError,
        body: bytes,
    ) -> None:
        """Record the refused callback, unless there are too many."""
        result = error.result if isinstance(error, CallbackRefused) else error.code
        self.count(provider, result)
        if self._audit.take():
            UNWRITTEN.add()
            return
        known = {"provider": provider} if provider in self.handler.providers else {}
        task_id = token.task_id if token else getattr(error, "task_id", None)
        of_task = {"task_id": task_id} if task_id else {}
        fields = {**known, **of_task, "request_id": _request_id(scope), "status": status}
        log.info("callback refused: %s", result, extra=fields)
        kept = self.redact(body)[:KEPT_BODY] if body else None
        callback = ReceivedCallback(provider[:40], task_id, result, status, str(error), kept)
        try:
            await self.handler.store.callbacks.add(callback)
        except Unavailable:
            log.warning("a refused callback could not be recorded")


def _request_id(scope: Scope) -> str:
    """Only refused callbacks get one: an accepted callback needs none."""
    if "request_id" not in scope:
        scope["request_id"] = given_or_new_id(scope["headers"])
    return str(scope["request_id"])


async def _send_problem(send: Send, error: CallbridgeError, scope: Scope) -> None:
    headers = problem_headers(error) | {"x-request-id": _request_id(scope)}
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = "POST"
    await send_raw(send, error.status, orjson.dumps(error.document()), PROBLEM, headers)
