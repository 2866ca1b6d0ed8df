"""uvicorn's HTTP protocol with the limits that it leaves to others."""

import asyncio
import logging
from functools import lru_cache
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.core.asgi import EMPTY_RESPONSE
from service.core.errors import InvalidRequest
from service.core.throttled_warning import ThrottledWarning
from service.serving.admission import Access, Admission
from service.serving.cycle import Http10Cycle

log = logging.getLogger("callbridge.server")
# A request's head must be complete after this time, and its body after this (the API itself responds 408 before).
HEAD_SECONDS = 15.0
BODY_SECONDS = 45.0
# Bytes between two pieces of body: a head, trailers, chunk extensions.
MAX_OVERHEAD = 64 * 1024
MAX_PIPELINED = 100
# When files are short, connections that were idle for so many ticks are closed.
IDLE_TICKS = 2
GARBAGE = ThrottledWarning(log, "%d requests were no HTTP")
BAD_REQUEST = orjson.dumps(InvalidRequest("This is not a valid HTTP request.").document())


class _Discard(list[tuple[bytes, bytes]]):
    def append(self, item: tuple[bytes, bytes]) -> None: ...


# Where trailers go: nobody reads them.
DISCARDED = _Discard()


# One of these headers is the date: it changes once a second.
@lru_cache(maxsize=1)
def _empty_response(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers]
    return STATUS_LINE[200] + b"".join(lines) + b"content-length: 0\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """Disconnects peers that send a request too slowly or without end, and declines upgrades.

    A request that arrives in one piece, as most do, never meets a timer.
    """

    # Set by `create_server` for all connections.
    admission: Admission
    essential_app: Any

    # What `slow_peers` keeps of each connection.
    unsent = 0
    stuck_since = 0.0
    idle_ticks = 0
    _timer: asyncio.TimerHandle | None = None
    # What the timer waits for: "head", "body" or nothing.
    _part = ""
    _overhead = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._extensions: dict[str, dict[object, object]] = {EMPTY_RESPONSE: {"send": self._send_empty}}
        self._arm("head")
        access = self.admission.access(len(self.connections))
        if access is not Access.ALL:
            self._close_idle()
            self.app = self.essential_app
        if access is Access.NONE:
            transport.abort()

    def _close_idle(self) -> None:
        for other in list(self.connections):
            if isinstance(other, Protocol) and other.idle and other.idle_ticks >= IDLE_TICKS:
                other.transport.close()

    @property
    def idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self.idle_ticks = 0
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as stop:
            if not self._goes_on(stop, data):
                GARBAGE.add()
                self.send_400_response("")
                return
        if self._overhead > MAX_OVERHEAD or len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()
            return
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            self._arm("head")
        elif cycle.more_body:
            self._arm("body")
            if not cycle.response_complete:
                # Until the application asks for more: what it has no room for stays with the sender.
                self.flow.pause_reading()
        elif self._part:
            self._disarm()

    def _goes_on(self, stop: Exception, data: bytes) -> bool:
        """Feed what stands behind an offered upgrade; False when it is no HTTP."""
        while isinstance(stop, httptools.HttpParserUpgrade):
            data = data[stop.args[0] :]
            self._decline_upgrade()
            try:
                self.parser.feed_data(data)
                return True
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as next_stop:
                stop = next_stop
        return False

    def _decline_upgrade(self) -> None:
        """The parser takes the offer for accepted and the request for complete: another one reads the body."""
        framing = [item for item in self.scope["headers"] if item[0] in (b"content-length", b"transfer-encoding")]
        if not framing:
            return
        self.cycle.more_body = True
        self.parser = httptools.HttpRequestParser(_AfterHead(self))
        lines = b"".join(b"%b: %b\r\n" % item for item in framing)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + lines + b"\r\n")

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._overhead = 0
        self.headers = DISCARDED
        self.scope["extensions"] = self._extensions
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = Http10Cycle

    def _send_empty(self, scope: Any) -> bool:
        """What EMPTY_RESPONSE is: as two messages this response would be one in twenty instructions of a callback."""
        cycle = self.cycle
        if cycle.scope is not scope or not cycle.keep_alive or cycle.disconnected or cycle.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.transport.write(_empty_response(tuple(cycle.default_headers)))
        cycle.message_event.set()
        cycle.on_response()
        return True

    # The next two are uvicorn's, without the question for an upgrade that each of them asks.

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_tick(self) -> None:
        """Once a second or so, for all connections together: a request pays for none of this."""
        if self.idle:
            self.idle_ticks += 1
            if self.cycle is not None and self.cycle.body:
                # A body that nobody read must not stay for as long as the connection is idle.
                self.cycle.body = bytearray()

    def send_400_response(self, msg: str) -> None:
        head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[400] + head % len(BAD_REQUEST) + BAD_REQUEST)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self, part: str) -> None:
        """From the first byte of this part on, however many pieces it comes in."""
        if part == self._part:
            return
        self._disarm()
        self._part = part
        self._timer = self.loop.call_later(HEAD_SECONDS if part == "head" else BODY_SECONDS, self._too_slow)

    def _disarm(self) -> None:
        self._part = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


class _AfterHead:
    """Parser callbacks for a message whose head another parser has read, and for the messages after it."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._in_first = True
        self.on_body = protocol.on_body

    def on_message_begin(self) -> None:
        if not self._in_first:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._in_first:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_first:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._in_first:
            self._protocol.on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_first = False
        self._protocol.on_message_complete()
