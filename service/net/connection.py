"""One HTTP/1.1 connection to a receiver: one write, one parser and one future for each request.

The status line decides: once it can be read, an error in the rest of the response only ends the connection.
"""

import asyncio
import ssl
from typing import Literal, cast

import httptools
from msgspec import Struct

from service.net.response_head import read_head

LARGEST_RESPONSE = 64 * 1024
KEPT_TEXT = 1024
KEPT_HEADER = 2048
# Smaller statuses are interim: another response follows.
FINAL = 200
WANTED = frozenset((b"retry-after", b"location"))

Reason = Literal["refused_target", "dns", "connect", "tls", "timeout", "protocol", "closed"]
Origin = tuple[str, str, int]


class Response(Struct, frozen=True):
    """`text` is the beginning of the body, at most 1 KiB of it."""

    status: int
    retry_after: str | None
    location: str | None
    text: str


class Unreachable(Exception):
    """No response came. The text is a sentence that holds nothing of the URL's path or query."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason


class Silent(Unreachable):
    """Closed before the first byte of a response."""

    def __init__(self) -> None:
        super().__init__("closed", "The connection was closed before a response came.")


class Connection(asyncio.Protocol):
    """One request at a time. Its `on_…` methods are called by the parser."""

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: Origin) -> None:
        self.origin = origin
        self.opened_at = self.idle_since = loop.time()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Response] | None = None
        self._keep_alive = True
        self._received = 0
        # What arrived before the first request was sent, and the head while it is incomplete.
        self._early = self._head = b""
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._text = b""

    @property
    def alive(self) -> bool:
        return self._keep_alive and self._transport is not None and not self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Alive, and the whole request was written: a response that came early leaves part of it unsent."""
        line = self._transport
        return self._keep_alive and line is not None and not line.is_closing() and line.get_write_buffer_size() == 0

    def send(self, request: bytes) -> "asyncio.Future[Response]":
        assert self._transport is not None
        self._received = self._status = 0
        self._head = b""
        self._waiter = self._loop.create_future()
        if self.lost.done():
            self._waiter.set_exception(Silent())
        self._transport.write(request)
        if self._early:
            self.data_received(self._early)
        return self._waiter

    def fail(self, reason: Reason, sentence: str) -> None:
        """End the request with the response if its status line arrived, else with Unreachable; close the connection."""
        if self._expects:
            if self._status < FINAL and (found := read_head(self._head, WANTED)) is not None:
                self._status, self._headers = found
            if self._status >= FINAL:
                self._finish()
            else:
                self._give_up(Unreachable(reason, sentence))
        self.abort()

    def abort(self) -> None:
        self._keep_alive = False
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self, error: Unreachable) -> None:
        if self._expects and self._waiter is not None:
            self._waiter.set_exception(error)
        self.abort()

    @property
    def _expects(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    # --- from the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are not subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            # A receiver that responds before the request, such as a canned response in netcat.
            self._early = (self._early + data)[:LARGEST_RESPONSE]
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._head += data
            self.fail("protocol", "The response is not HTTP/1.1.")
            return
        if not self._status:
            self._head += data
        if self._received > LARGEST_RESPONSE and self._expects:
            self.fail("protocol", "The headers of the response are larger than 64 KiB.")

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(error, ssl.SSLError):
            self.fail("tls", "The TLS connection broke.")
        elif self._received == 0:
            self._give_up(Silent())
        else:
            self.fail("closed", "The connection was closed in the middle of the response.")
        self.lost.set_result(None)

    # --- from the parser ---

    def on_message_begin(self) -> None:
        if not self._expects:
            # An unsolicited response would be taken for the response to the next request.
            self.abort()
        self._headers = {}
        self._text = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in WANTED and not self._status:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._text += body[: KEPT_TEXT - len(self._text)]

    def on_message_complete(self) -> None:
        if self._status < FINAL:
            self._status = 0
        elif self._expects:
            self._keep_alive = self._parser.should_keep_alive()
            self._finish()

    def _finish(self) -> None:
        assert self._waiter is not None
        # PostgreSQL's text cannot hold NUL.
        text = self._text.decode("utf-8", "replace").replace("\0", "\ufffd") if self._text else ""
        retry_after = location = None
        if self._headers:
            retry_after, location = self._kept(b"retry-after"), self._kept(b"location")
        self._waiter.set_result(Response(self._status, retry_after, location, text))

    def _kept(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value[:KEPT_HEADER].decode("latin-1")
