"""One signed POST, by Standard Webhooks; no redirects, no private addresses."""

import logging
import math
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache

from service import __version__
from service.core.delivery import Attempt, Delivery
from service.core.event import time_of
from service.core.targets import PrivateTargets
from service.core.times import now_ms
from service.net.connection import Unreachable
from service.net.guard import TargetRefused, check_url
from service.net.http1 import Client, Head, head_of
from service.ports.outlets import Endpoint, Outcome
from service.wire.cloudevents import cloud_event_lines
from service.wire.signature import Signer

log = logging.getLogger("callbridge.deliver")
KEPT_EVENTS = 64
HEADERS = [
    (b"content-type", b"application/json"),
    # Firewalls in front of receivers refuse requests without one.
    (b"accept", b"*/*"),
    (b"user-agent", f"Callbridge/{__version__}".encode()),
]


@dataclass(frozen=True, slots=True)
class EndpointTemplate:
    """All that is the same for every delivery to one endpoint."""

    head: Head
    signer: Signer


class WebhookOutlet:
    def __init__(self, client: Client, *, source: str, private: PrivateTargets, timeout: float) -> None:
        """`source`: our own public address, which CloudEvents readers see."""
        self.client = client
        self.private = private
        self.timeout = timeout
        self.source = source
        # Of the latest events: one goes to many receivers, at about the same time.
        self._event_lines: dict[str, str] = {}
        self._prepared = lru_cache(maxsize=2048)(self._prepare)

    def _prepare(self, endpoint: Endpoint) -> EndpointTemplate:
        own = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in endpoint.headers]
        chosen = {name.lower() for name, _ in own}
        ours = [(name, value) for name, value in HEADERS if name not in chosen]
        return EndpointTemplate(head_of(check_url(endpoint.url, self.private), own + ours), Signer(endpoint.secrets))

    def check(self, url: str) -> None:
        try:
            check_url(url, self.private)
        except TargetRefused as refused:
            raise ValueError(str(refused)) from None

    async def post(self, delivery: Delivery, endpoint: Endpoint) -> Outcome:
        at, started = now_ms(), time.perf_counter()
        status = error = text = retry_after = None
        try:
            prepared = self._prepared(endpoint)
            lines = self._lines(prepared.signer, delivery, at // 1000)
            response = await self.client.post(prepared.head, lines, delivery.body, self.timeout)
            status, text = response.status, response.text or None
            retry_after = seconds_of(response.retry_after)
            if 300 <= status < 400:
                error = f"redirect to {_shown(response.location)} refused: use the final address"
        except TargetRefused as refused:
            error = f"refused_target: {refused}"
        except Unreachable as trouble:
            error = str(trouble) if str(trouble).startswith(trouble.reason) else f"{trouble.reason}: {trouble}"
        except Exception:
            # Whatever it is, the delivery must not be lost over it.
            log.exception("unexpected error in an attempt at %s", delivery.id)
            error = "internal: see the log"
        duration = int((time.perf_counter() - started) * 1000)
        return Outcome(Attempt(at, status, error, duration, text, endpoint.url), retry_after)

    def _lines(self, signer: Signer, delivery: Delivery, timestamp: int) -> bytes:
        """The headers of one attempt: those of Standard Webhooks and of CloudEvents."""
        event_id = delivery.event_id
        signature = signer.sign(event_id, timestamp, delivery.body)
        event_lines = self._event_lines.get(event_id) or self._new_event_lines(delivery)
        return (
            f"webhook-id: {event_id}\r\nwebhook-timestamp: {timestamp}\r\n"
            f"webhook-signature: {signature}\r\n{event_lines}"
        ).encode()

    def _new_event_lines(self, delivery: Delivery) -> str:
        if len(self._event_lines) >= KEPT_EVENTS:
            self._event_lines.clear()
        at = time_of(delivery.body)
        lines = cloud_event_lines(delivery.event_id, delivery.event_type, at, self.source, delivery.task_id)
        self._event_lines[delivery.event_id] = lines
        return lines


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
