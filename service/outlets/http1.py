"""POST to subscribers over HTTP/1.1: one write, one parser and one future for each request.

Our own because fan-out is what the service is for (general clients cost five to two hundred times as much per request),
and because the address that was judged must be the address that is dialled.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import httptools

from service.outlets.guard import Address, Resolver, Target, TargetRefused, resolve

LARGEST_ANSWER = 64 * 1024
KEPT_TEXT = 1024
KEPT_HEADER = 2048
IDLE_SECONDS = 30.0
SWEEP_SECONDS = 5.0
# A connection that is never idle would hold on to an old address for ever.
LIFE_SECONDS = 300.0

WANTED = frozenset((b"retry-after", b"location", b"content-length", b"transfer-encoding"))
OURS = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection"))

Reason = Literal["refused_target", "dns", "connect", "tls", "timeout", "protocol", "closed"]
Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is the beginning of the body, at most 1 KiB of it."""

    status: int
    retry_after: str | None
    location: str | None
    text: str


class Unreachable(Exception):
    """No whole answer came. The text is a sentence without any part of the URL's path or query."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason


class _Silent(Unreachable):
    """Closed before the first byte of an answer."""

    def __init__(self) -> None:
        super().__init__("closed", "The connection was closed before an answer came.")


class Client:
    """Follows no redirect, keeps no cookie, reads no proxy from the environment."""

    def __init__(
        self,
        *,
        allow_private: bool,
        connect_timeout: float,
        max_idle_per_origin: int = 16,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle_per_origin
        self._resolver = resolver
        self._ssl = ssl_context or ssl.create_default_context()
        self._idle: dict[Origin, list[_Connection]] = {}
        self._open: set[_Connection] = set()
        self._lookups: dict[Origin, asyncio.Task[list[Address]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, target: Target, headers: Sequence[tuple[bytes, bytes]], body: bytes, timeout: float) -> Answer:
        """Raises Unreachable. Host and Content-Length are added; `timeout` is in seconds and covers everything."""
        request = _request(target, headers, body)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        connection = self._take((target.scheme, target.host, target.port), loop.time())
        if connection is not None:
            try:
                return await self._exchange(connection, request, deadline)
            except _Silent:
                # It was closed while it lay idle. The subscriber may have seen the request all the same: deliveries
                # are at least once.
                pass
        return await self._exchange(await self._connect(target, deadline), request, deadline)

    async def aclose(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        connections = list(self._open)
        for connection in connections:
            connection.fail("closed", "The service is shutting down.")
        await asyncio.gather(*(connection.lost for connection in connections))

    async def _exchange(self, connection: "_Connection", request: bytes, deadline: float) -> Answer:
        if self._closed:
            connection.abort()
            raise Unreachable("closed", "The service is shutting down.")
        waiter = connection.send(request)
        timer = asyncio.get_running_loop().call_at(deadline, connection.fail, "timeout", "No whole answer in time.")
        try:
            answer = await waiter
        except BaseException:
            connection.abort()
            raise
        finally:
            timer.cancel()
        self._release(connection)
        return answer

    # --- connections kept for the next request ---

    def _take(self, origin: Origin, now: float) -> "_Connection | None":
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.reusable and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def _release(self, connection: "_Connection") -> None:
        loop = asyncio.get_running_loop()
        idle = self._idle.setdefault(connection.origin, [])
        now = connection.idle_since = loop.time()
        young = now - connection.opened_at < LIFE_SECONDS
        if self._closed or not connection.reusable or not young or len(idle) >= self._max_idle:
            connection.abort()
            return
        idle.append(connection)
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_SECONDS
        for origin, idle in list(self._idle.items()):
            while idle and idle[0].idle_since <= oldest:
                idle.pop(0).abort()
            if not idle:
                del self._idle[origin]
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep) if self._idle else None

    def _forget(self, connection: "_Connection", _: "asyncio.Future[None]") -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)

    # --- new connections ---

    async def _connect(self, target: Target, deadline: float) -> "_Connection":
        until = min(deadline, asyncio.get_running_loop().time() + self._connect_timeout)
        try:
            async with asyncio.timeout_at(until):
                addresses = await self._addresses(target)
                sock = await _dial(addresses, until)
                return await self._start(sock, target)
        except TimeoutError:
            raise Unreachable("timeout", "No connection in time.") from None

    async def _addresses(self, target: Target) -> list[Address]:
        """Callers of one origin share a lookup: a dead name server must not take all the resolver's threads."""
        origin = (target.scheme, target.host, target.port)
        lookup = self._lookups.get(origin)
        if lookup is None:
            lookup = asyncio.create_task(resolve(target, self._allow_private, self._resolver))
            self._lookups[origin] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(origin))
        try:
            return await asyncio.shield(lookup)
        except TargetRefused as error:
            raise Unreachable("refused_target", str(error)) from None
        except (OSError, UnicodeError):
            raise Unreachable("dns", "The host name has no address.") from None

    async def _start(self, sock: socket.socket, target: Target) -> "_Connection":
        loop = asyncio.get_running_loop()
        connection = _Connection(loop, (target.scheme, target.host, target.port))
        secure = target.scheme == "https"
        try:
            await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._ssl if secure else None,
                server_hostname=target.host if secure else None,
            )
        except ssl.SSLCertVerificationError as error:
            cause = error.verify_message.rstrip(".")
            raise Unreachable("tls", f"The certificate is not accepted: {cause}.") from None
        except OSError:
            reason: Reason = "tls" if secure else "connect"
            raise Unreachable(reason, "The connection broke off while it was set up.") from None
        except BaseException:
            connection.abort()
            raise
        self._open.add(connection)
        connection.lost.add_done_callback(partial(self._forget, connection))
        return connection


class _Connection(asyncio.Protocol):
    """One request at a time. Its `on_…` methods are called by the parser."""

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: Origin) -> None:
        self.origin = origin
        self.opened_at = self.idle_since = loop.time()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answer] | None = None
        self._keep_alive = True
        self._received = 0
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._text = b""

    @property
    def reusable(self) -> bool:
        # An answer that came before the request was written out leaves half a request in the line.
        line = self._transport
        return self._keep_alive and line is not None and not line.is_closing() and line.get_write_buffer_size() == 0

    def send(self, request: bytes) -> "asyncio.Future[Answer]":
        assert self._transport is not None
        self._received = self._status = 0
        self._waiter = self._loop.create_future()
        if self.lost.done():
            self._waiter.set_exception(_Silent())
        self._transport.write(request)
        return self._waiter

    def fail(self, reason: Reason, sentence: str) -> None:
        self._give_up(Unreachable(reason, sentence))

    def abort(self) -> None:
        self._keep_alive = False
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self, error: Unreachable) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()

    @property
    def _expects(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    # --- from the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: the transports of uvloop are no subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail("protocol", "The answer is not HTTP/1.1.")
            return
        if self._received > LARGEST_ANSWER and self._expects:
            self._cut()

    def connection_lost(self, error: Exception | None) -> None:
        if self._expects:
            until_close = self._status and not self._headers.keys() & {b"content-length", b"transfer-encoding"}
            if until_close and error is None:
                self._finish()
            elif isinstance(error, ssl.SSLError):
                self.fail("tls", "The TLS connection broke.")
            elif self._received == 0:
                self._give_up(_Silent())
            else:
                self.fail("closed", "The connection was closed in the middle of the answer.")
        self.lost.set_result(None)

    # --- from the parser ---

    def on_message_begin(self) -> None:
        if not self._expects:
            # Nobody asked; kept, it would be taken for the answer to the next request.
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
        if 100 <= self._status < 200:
            self._status = 0
        elif self._expects:
            self._keep_alive = self._parser.should_keep_alive()
            self._finish()

    def _cut(self) -> None:
        """Enough was read; the rest is not waited for."""
        if self._status:
            self._finish()
            self.abort()
        else:
            self.fail("protocol", "The headers of the answer are larger than 64 KiB.")

    def _finish(self) -> None:
        assert self._waiter is not None
        # NUL is no text for every store.
        text = self._text.decode("utf-8", "replace").replace("\0", "\ufffd")
        self._waiter.set_result(Answer(self._status, self._kept(b"retry-after"), self._kept(b"location"), text))

    def _kept(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value[:KEPT_HEADER].decode("latin-1")


async def _dial(addresses: list[Address], until: float) -> socket.socket:
    """Tries one after the other; each has its share of the time, so a dead one leaves some for the next."""
    loop = asyncio.get_running_loop()
    failure = OSError()
    for index, (family, sockaddr) in enumerate(addresses):
        try:
            async with asyncio.timeout((until - loop.time()) / (len(addresses) - index)):
                return await _connected(family, sockaddr)
        except OSError as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise failure
    cause = os.strerror(failure.errno) if failure.errno else "failed"
    raise Unreachable("connect", f"No connection: {cause}.")


async def _connected(family: socket.AddressFamily, sockaddr: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def _request(target: Target, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Raises ValueError for a header that would change where the request ends: some are a subscriber's choice."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        raise ValueError("A header holds a line break or a NUL.")
    if not OURS.isdisjoint([name.lower() for name, _ in headers]):
        raise ValueError("Host, Connection, Content-Length and Transfer-Encoding are set by the client.")
    head = f"POST {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nContent-Length: {len(body)}\r\n"
    return b"".join((head.encode("ascii"), lines, b"\r\n", body))
