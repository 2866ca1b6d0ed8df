"""One signed POST, by Standard Webhooks; no redirects, no private addresses."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import lru_cache

from service import __version__
from service.core.delivery import Attempt
from service.core.times import now_ms
from service.net.connection import Unreachable
from service.net.guard import TargetRefused, check_url
from service.net.http1 import Client, Head, head_of
from service.ports import Outcome
from service.wire.signature import Signer

log = logging.getLogger("callbridge.deliver")
HEADERS = [(b"content-type", b"application/json"), (b"user-agent", f"Callbridge/{__version__}".encode())]


class WebhookOutlet:
    def __init__(self, client: Client, *, allow_private: bool, timeout: float) -> None:
        self.client = client
        self.allow_private = allow_private
        self.timeout = timeout
        # All that is the same for every delivery to one subscriber.
        self._letter = lru_cache(maxsize=2048)(self._make_letter)

    def _make_letter(
        self, url: str, secrets: tuple[str, ...], headers: tuple[tuple[str, str], ...]
    ) -> tuple[Head, Signer]:
        own = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return head_of(check_url(url, self.allow_private), own + HEADERS), Signer(list(secrets))

    def check(self, url: str) -> None:
        try:
            check_url(url, self.allow_private)
        except TargetRefused as refused:
            raise ValueError(str(refused)) from None

    async def post(
        self, url: str, event_id: str, body: bytes, secrets: Sequence[str], headers: Mapping[str, str]
    ) -> Outcome:
        at, started = now_ms(), time.perf_counter()
        status = error = text = retry_after = None
        try:
            head, signer = self._letter(url, tuple(secrets), tuple(headers.items()))
            lines = _signed(signer, event_id, at // 1000, body)
            answer = await self.client.post(head, lines, body, self.timeout)
            status, text = answer.status, answer.text or None
            retry_after = seconds_of(answer.retry_after)
            if 300 <= status < 400:
                error = f"redirect to {_shown(answer.location)} refused: use the final address"
        except TargetRefused as refused:
            error = f"refused_target: {refused}"
        except Unreachable as trouble:
            error = str(trouble) if str(trouble).startswith(trouble.reason) else f"{trouble.reason}: {trouble}"
        except Exception:
            # Whatever it is, the delivery must not be lost over it.
            log.exception("an attempt of %s met an unknown fault", event_id)
            error = "internal: see the log"
        duration = int((time.perf_counter() - started) * 1000)
        return Outcome(Attempt(at, status, error, duration, text), retry_after)


def _signed(signer: Signer, event_id: str, timestamp: int, body: bytes) -> bytes:
    signature = signer.sign(event_id, timestamp, body)
    return f"webhook-id: {event_id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n".encode()


def _shown(location: str | None) -> str:
    """Where it pointed, without the query: that may hold a secret."""
    return (location or "nowhere").split("?")[0].split("#")[0][:200]


def seconds_of(retry_after: str | None) -> float | None:
    """`Retry-After` as seconds; a date is counted from now, nonsense is None."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(int(retry_after)))
    except OverflowError:
        return math.inf
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
