"""A client of a running Callbridge: its API, and an event stream that resumes by itself."""

import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from httpx_sse import EventSource, SSEError

log = logging.getLogger("callbridge.client")

# The service sends a comment at least every 15 s, so a longer silence means a broken connection.
SILENCE = 40.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0


class BridgeRefused(Exception):
    """The request failed for good (a 4xx); the text says what to do."""


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """`body` is what a webhook would carry, byte for byte."""

    seq: int
    body: bytes
    fields: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.fields["id"])

    @property
    def type(self) -> str:
        return str(self.fields["type"])

    @property
    def timestamp(self) -> str:
        return str(self.fields["timestamp"])

    @property
    def task_id(self) -> str | None:
        """None for events without a task."""
        return str(self.fields["data"]["id"]) if self.type.startswith("task.") else None


class BridgeClient:
    """`url` is the address of the service without a path, `key` one of its API keys."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(30.0, read=SILENCE),
        )

    def close(self) -> None:
        self._client.close()

    def request(self, method: str, path: str, body: object = None, query: dict[str, str] | None = None) -> Any:
        """The JSON of a 2xx response. Raises BridgeRefused for a 4xx, httpx.HTTPError for what may be temporary."""
        response = self._client.request(method, path, json=body, params=query)
        _raise_for_refusal(response)
        response.raise_for_status()
        return response.json()

    def webhook_secret(self) -> str:
        """The secret that signs deliveries to the owner's callback_url."""
        return str(self.request("GET", "/v1/webhook-secret")["secret"])

    def last_seq(self) -> int:
        """The newest event that this key may see, 0 when there is none."""
        latest = self.request("GET", "/v1/events/latest", query={"limit": "1"})
        return int(latest[0]["seq"]) if latest else 0

    def follow(self, types: Sequence[str] = ()) -> Iterator[StreamedEvent]:
        """Every event from now on, in order, without gap or repeat, across broken connections and restarts.

        Never ends by itself. Raises BridgeRefused when the key or the types are refused.
        """
        after = self._patiently_last_seq()
        pause = FIRST_PAUSE
        while True:
            try:
                for event in self._stream(after, types):
                    pause = FIRST_PAUSE
                    after = event.seq
                    if event.fields:
                        yield event
                trouble = "the stream ended"
            except (httpx.HTTPError, SSEError) as error:
                trouble = str(error) or type(error).__name__
            log.warning("%s: reconnecting", trouble)
            pause = _sleep(pause)

    def _patiently_last_seq(self) -> int:
        pause = FIRST_PAUSE
        while True:
            try:
                return self.last_seq()
            except httpx.HTTPError as error:
                log.warning("%s cannot be reached (%s): trying again", self.url, str(error) or type(error).__name__)
                pause = _sleep(pause)

    def _stream(self, after: int, types: Sequence[str]) -> Iterator[StreamedEvent]:
        query = {"after": str(after)} | ({"types": ",".join(types)} if types else {})
        with self._client.stream("GET", "/v1/events", params=query, headers={"Accept": "text/event-stream"}) as answer:
            if answer.is_error:
                answer.read()
            _raise_for_refusal(answer)
            answer.raise_for_status()
            for message in EventSource(answer).iter_sse():
                if message.event == "reset":
                    log.warning("the database of %s was emptied or restored: continuing with new events", self.url)
                    yield StreamedEvent(self.last_seq(), b"", {})
                elif message.data:
                    body = message.data.encode()
                    yield StreamedEvent(int(message.id), body, json.loads(body))


def _raise_for_refusal(response: httpx.Response) -> None:
    if not 400 <= response.status_code < 500 or response.status_code in (408, 429):
        return
    try:
        problem = response.json()
        told = [problem["detail"], *(f"{one['pointer']}: {one['detail']}" for one in problem.get("errors", ()))]
    except (ValueError, TypeError, KeyError):
        told = [f"{response.url.copy_with(query=None)} answered {response.status_code}; is Callbridge there?"]
    raise BridgeRefused(" ".join(told))


def _sleep(pause: float) -> float:
    """Rest for about `pause` seconds; returns the next, longer one."""
    time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
    return min(pause * 2, LONGEST_PAUSE)
