"""POST to subscribers over HTTP/1.1: one write, one parser and one future for each request.

Our own because fan-out is what the service is for (general clients cost five to two hundred times as much per request),
and because the address that was judged must be the address that is dialled.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from service.core.targets import PrivateTargets
from service.net.connection import Connection, Origin, Reason, Response, Silent, Unreachable
from service.net.guard import Address, CheckedUrl, Resolver, TargetRefused, resolve
from service.net.tls import trusted

IDLE_SECONDS = 30.0
SWEEP_SECONDS = 5.0
# A connection that is never idle would hold on to an old address for ever.
LIFE_SECONDS = 300.0

OURS = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection"))


@dataclass(frozen=True, slots=True)
class Head:
    """What every request to one address begins with; made and checked once, not for each request."""

    target: CheckedUrl
    origin: Origin
    lines: bytes = field(repr=False)


def head_of(target: CheckedUrl, headers: Sequence[tuple[bytes, bytes]]) -> Head:
    """Raises ValueError for a header that would change where the request ends: some are a subscriber's choice."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        raise ValueError("A header holds a line break or a NUL.")
    if not OURS.isdisjoint([name.lower() for name, _ in headers]):
        raise ValueError("Host, Connection, Content-Length and Transfer-Encoding are set by the client.")
    first = f"POST {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n"
    return Head(target, (target.scheme, target.host, target.port), first.encode("ascii") + lines)


class Client:
    """Follows no redirect, keeps no cookie, reads no proxy from the environment."""

    def __init__(
        self,
        *,
        private: PrivateTargets,
        connect_timeout: float,
        max_idle: int = 512,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._private = private
        self._connect_timeout = connect_timeout
        # Over all: every kept connection is an open file.
        self._max_idle = max_idle
        self._idle_count = 0
        self._resolver = resolver
        self._ssl = ssl_context or trusted()
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._lookups: dict[Origin, asyncio.Task[list[Address]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, head: Head, lines: bytes, body: bytes, timeout: float) -> Response:
        """Raises Unreachable. `lines` are headers of this request only, each with its line end; they are not checked.

        Content-Length is added; `timeout` is in seconds and covers everything.
        """
        request = b"".join((head.lines, lines, b"Content-Length: %d\r\n\r\n" % len(body), body))
        target = head.target
        now = asyncio.get_running_loop().time()
        deadline = now + timeout
        connection = self._take(head.origin, now)
        if connection is not None:
            try:
                return await self._exchange(connection, request, deadline)
            except Silent:
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

    async def _exchange(self, connection: "Connection", request: bytes, deadline: float) -> Response:
        if self._closed:
            connection.abort()
            raise Unreachable("closed", "The service is shutting down.")
        waiter = connection.send(request)
        timer = asyncio.get_running_loop().call_at(deadline, connection.fail, "timeout", "No response in time.")
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

    def _take(self, origin: Origin, now: float) -> "Connection | None":
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.alive and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def _release(self, connection: "Connection") -> None:
        loop = asyncio.get_running_loop()
        now = connection.idle_since = loop.time()
        old = now - connection.opened_at >= LIFE_SECONDS
        if old or self._closed or self._idle_count >= self._max_idle or not connection.reusable:
            connection.abort()
            return
        self._idle.setdefault(connection.origin, []).append(connection)
        self._idle_count += 1
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_SECONDS
        for origin, idle in list(self._idle.items()):
            while idle and idle[0].idle_since <= oldest:
                self._idle_count -= 1
                idle.pop(0).abort()
            if not idle:
                del self._idle[origin]
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep) if self._idle else None

    def _forget(self, connection: "Connection", _: "asyncio.Future[None]") -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)
            self._idle_count -= 1

    # --- new connections ---

    async def _connect(self, target: CheckedUrl, deadline: float) -> "Connection":
        until = min(deadline, asyncio.get_running_loop().time() + self._connect_timeout)
        try:
            async with asyncio.timeout_at(until):
                addresses = await self._addresses(target)
                sock = await _dial(addresses, until)
                return await self._start(sock, target)
        except TimeoutError:
            raise Unreachable("timeout", "No connection in time.") from None

    async def _addresses(self, target: CheckedUrl) -> list[Address]:
        """Callers of one origin share a lookup: a dead name server must not take all the resolver's threads."""
        origin = (target.scheme, target.host, target.port)
        lookup = self._lookups.get(origin)
        if lookup is None:
            lookup = asyncio.create_task(resolve(target, self._private, self._resolver))
            self._lookups[origin] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(origin))
        try:
            return await asyncio.shield(lookup)
        except TargetRefused as error:
            raise Unreachable("refused_target", str(error)) from None
        except (OSError, UnicodeError):
            raise Unreachable("dns", "The host name has no address.") from None

    async def _start(self, sock: socket.socket, target: CheckedUrl) -> "Connection":
        loop = asyncio.get_running_loop()
        connection = Connection(loop, (target.scheme, target.host, target.port))
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
    raise Unreachable("connect", f"{os.strerror(failure.errno)}." if failure.errno else "No connection.")


async def _connected(family: socket.AddressFamily, sockaddr: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock
