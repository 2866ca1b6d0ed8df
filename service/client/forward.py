"""Forward events to a program on this machine, signed like a delivery."""

import time
from dataclasses import dataclass

import httpx

from service import __version__
from service.client.bridge import StreamedEvent
from service.wire.cloudevents import cloud_event_headers
from service.wire.signature import Signer

TIMEOUT = 15.0
# Seconds between tries of an address where nothing listens.
WAIT_FOR_LISTENER = 0.5


@dataclass(frozen=True, slots=True)
class Sent:
    """The outcome of one POST: `status` of the response, or `error` when there was none."""

    status: int | None
    error: str | None
    duration_ms: int


class NobodyListens(Exception):
    """Nothing accepts connections at the address."""


class Forwarder:
    """`source` names the service in the CloudEvents headers."""

    def __init__(self, url: str, secret: str, source: str) -> None:
        self.url = url
        self._source = source
        self._signer = Signer([secret])
        # Local programs are not behind a proxy, and connections are not kept between events.
        self._client = httpx.Client(timeout=TIMEOUT, trust_env=False, follow_redirects=False)

    def close(self) -> None:
        self._client.close()

    def send(self, event: StreamedEvent) -> Sent:
        """One attempt. Raises NobodyListens when the event was not sent."""
        started = time.monotonic()
        status = error = None
        try:
            status = self._client.post(self.url, content=event.body, headers=self._headers(event)).status_code
        except httpx.ConnectError:
            raise NobodyListens(self.url) from None
        except httpx.TimeoutException:
            error = f"no response within {TIMEOUT:g} s"
        except httpx.HTTPError as trouble:
            error = str(trouble) or type(trouble).__name__
        return Sent(status, error, round((time.monotonic() - started) * 1000))

    def _headers(self, event: StreamedEvent) -> dict[str, str]:
        timestamp = int(time.time())
        return {
            "content-type": "application/json",
            "user-agent": f"Callbridge/{__version__} listen",
            "accept": "*/*",
            "webhook-id": event.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._signer.sign(event.id, timestamp, event.body),
            **cloud_event_headers(event.id, event.type, event.timestamp, self._source, event.task_id),
        }
