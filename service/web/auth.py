"""API keys: compared as hashes in constant time, each with a rate limit."""

import hashlib
import hmac
import time

from starlette.datastructures import Headers
from starlette.requests import Request

from service.core.caller import ApiKey, Caller
from service.core.errors import Conflict, RateLimited, Unauthorized

# A burst may hold as many requests as the rate allows in this many seconds.
BURST_SECONDS = 10.0
LONGEST_KEY = 512


class Bucket:
    """A token bucket; `rate` is tokens per second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._level = rate * BURST_SECONDS
        self._at = time.monotonic()

    def take(self) -> float:
        """0 when allowed, else how many seconds to wait."""
        now = time.monotonic()
        self._level = min(self.rate * BURST_SECONDS, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < 1:
            return (1 - self._level) / self.rate
        self._level -= 1
        return 0.0


class Keys:
    """`rate` is requests per second for each key, 0 for no limit."""

    def __init__(self, api_keys: tuple[ApiKey, ...], rate: float) -> None:
        self._rows = [
            (hashlib.sha256(item.key.encode()).digest(), Caller(item.name, item.admin), Bucket(rate) if rate else None)
            for item in api_keys
        ]

    def caller(self, headers: Headers) -> Caller:
        """Raises Unauthorized, RateLimited, and Conflict for a delivery that was sent to our own API."""
        if headers.get("webhook-id") and headers.get("user-agent", "").startswith("Callbridge/"):
            raise Conflict("A Callbridge delivery must not call the Callbridge API: that would loop forever.")
        key = _key(headers)
        if key is None or len(key) > LONGEST_KEY:
            raise Unauthorized("Send your API key as Authorization: Bearer KEY or X-API-Key: KEY.")
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found: tuple[Caller, Bucket | None] | None = None
        for known, caller, bucket in self._rows:
            # All are compared, so the time taken does not depend on which one matched.
            if hmac.compare_digest(known, digest):
                found = caller, bucket
        if found is None:
            raise Unauthorized("This API key is not valid.")
        caller, bucket = found
        if bucket is not None and (wait := bucket.take()):
            raise RateLimited(f"More than {bucket.rate:g} requests per second; slow down.", retry_after=wait)
        return caller


def _key(headers: Headers) -> str | None:
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            return key.strip()
    return headers.get("x-api-key") or None


def caller_of(request: Request) -> Caller:
    """Set when the route table checked the key."""
    caller = request.scope["caller"]
    assert isinstance(caller, Caller)
    return caller
