"""X-Request-ID on every response, and a line in the log for each request that changed something."""

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("callbridge.web")
HEADER = b"x-request-id"
# 1 to 128 printable characters without blanks.
GIVEN = re.compile(rb"[\x21-\x7e]{1,128}")
# What the path or the Location of the response names.
SUBJECTS = {
    "task_id": re.compile(r"tsk_[0-9a-f]{32}"),
    "subscription_id": re.compile(r"sub_[0-9a-f]{32}"),
    "delivery_id": re.compile(r"dlv_[0-9a-f]{16}"),
}
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
LONGEST_PATH = 200


class RequestLog:
    """Wraps an application; `scope["request_id"]` is the id of the request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = scope["request_id"] = given_or_new_id(scope["headers"])
        started = time.perf_counter()
        status, location = 500, ""

        # Not a coroutine of its own: each of ten thousand streams passes here with every event.
        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status, location
            if message["type"] == "http.response.start":
                status = message["status"]
                location = _location(message["headers"])
                message["headers"] = [*message["headers"], (HEADER, request_id.encode())]
            return send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("unexpected error in a request", extra={"request_id": request_id, "status": 500})
        finally:
            if scope["method"] in CHANGING:
                _log_request(scope, status, location, time.perf_counter() - started)


def request_id_of(scope: Scope) -> str | None:
    found = scope.get("request_id")
    return found if isinstance(found, str) else None


def given_or_new_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == HEADER and GIVEN.fullmatch(value):
            return value.decode("ascii")
    return secrets.token_hex(16)


def _location(headers: Iterable[tuple[bytes, bytes]]) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == b"location"), "")


def _log_request(scope: Scope, status: int, location: str, seconds: float) -> None:
    """A refused request changed nothing: it is a line for debugging."""
    level = logging.INFO if status < 400 else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    path = scope["path"]
    found = {name: pattern.search(path) or pattern.search(location) for name, pattern in SUBJECTS.items()}
    extra: dict[str, object] = {name: match[0] for name, match in found.items() if match}
    extra |= {"request_id": scope["request_id"], "status": status, "duration_ms": int(seconds * 1000)}
    log.log(level, "%s %s", scope["method"], path[:LONGEST_PATH], extra=extra)
