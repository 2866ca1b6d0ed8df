"""Who calls: API keys, compared as hashes in constant time, and a limit for each."""

import hashlib
import hmac
import time
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core.errors import CallbridgeError, NotFound, RateLimited, Unauthorized
from service.settings import ApiKey
from service.web.responses import problem

# A key may do in a burst what its rate allows in this many seconds.
BURST_SECONDS = 10.0
LONGEST_KEY = 512


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    admin: bool

    @property
    def owner(self) -> str | None:
        """What the store is asked for: None sees all."""
        return None if self.admin else self.name

    def may_see(self, owner: str) -> bool:
        return self.admin or self.name == owner


class Bucket:
    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._level = rate * BURST_SECONDS
        self._at = time.monotonic()

    def take(self) -> float:
        """0 when allowed, else the seconds until one more is."""
        now = time.monotonic()
        self._level = min(self.rate * BURST_SECONDS, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < 1:
            return (1 - self._level) / self.rate
        self._level -= 1
        return 0.0


class Keys:
    """`rate` is requests per second and key, 0 for no limit."""

    def __init__(self, api_keys: tuple[ApiKey, ...], rate: float) -> None:
        self._rows = [
            (hashlib.sha256(item.key.encode()).digest(), Caller(item.name, item.admin), Bucket(rate) if rate else None)
            for item in api_keys
        ]

    def caller(self, headers: Headers) -> Caller:
        """Raises Unauthorized, RateLimited."""
        key = _key(headers)
        if key is None or len(key) > LONGEST_KEY:
            raise Unauthorized("Send your API key as Authorization: Bearer KEY or X-API-Key: KEY.")
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found: tuple[Caller, Bucket | None] | None = None
        for known, caller, bucket in self._rows:
            # All are compared, so the time tells nothing about which one was near.
            if hmac.compare_digest(known, digest):
                found = caller, bucket
        if found is None:
            raise Unauthorized("This API key is not known here.")
        caller, bucket = found
        if bucket is not None and (wait := bucket.take()):
            raise RateLimited(f"More than {bucket.rate:g} requests a second; wait a little.", retry_after=wait)
        return caller


def _key(headers: Headers) -> str | None:
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            return key.strip()
    return headers.get("x-api-key") or None


class Authenticated:
    """Wraps what is under /v1: nothing is read of a request before its key is known."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope["caller"] = self.keys.caller(Headers(scope=scope))
        except CallbridgeError as error:
            await problem(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def caller_of(request: Request) -> Caller:
    caller = request.scope["caller"]
    assert isinstance(caller, Caller)
    return caller


def admin_of(request: Request) -> Caller:
    caller = caller_of(request)
    if not caller.admin:
        # Like somebody else's object: what a key may not see is not there.
        raise NotFound("This address is for admin keys.")
    return caller
