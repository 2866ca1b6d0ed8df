"""POST to receivers over HTTP/1.1: one write, one parser and one future for each request.

Our own because fan-out is what the service is for (general clients cost five to two hundred times as much per request),
and because the checked address must be the address that is dialled.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from service.core.targets import PrivateTargets
from service.net.connection import Connection, Origin, Response, Silent, Unreachable
from service.net.connector import Connector
from service.net.guard import CheckedUrl, Resolver
from service.net.tls import trusted

IDLE_SECONDS = 30.0
SWEEP_SECONDS = 5.0
# A connection that is never idle would keep an old address forever.
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
        self._connector = Connector(private, connect_timeout, resolver, ssl_context or trusted())
        # Of all origins together: every kept connection is an open file.
        self._max_idle = max_idle
        self._idle_count = 0
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def post(self, head: Head, lines: bytes, body: bytes, timeout: float) -> Response:
        """Raises Unreachable. `lines` are headers of this request only, each with its line end; they are not checked.

        Content-Length is added; `timeout` is in seconds and covers everything.
        """
        request = b"".join((head.lines, lines, b"Content-Length: %d\r\n\r\n" % len(body), body))
        now = asyncio.get_running_loop().time()
        deadline = now + timeout
        connection = self._take(head.origin, now)
        if connection is not None:
            try:
                return await self._exchange(connection, request, deadline)
            except Silent:
                # Closed while idle. The receiver may have seen the request all the same: deliveries are at least once.
                pass
        return await self._exchange(await self._connect(head.target, deadline), request, deadline)

    async def aclose(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        connections = list(self._open)
        for connection in connections:
            connection.fail("closed", "The service is shutting down.")
        await asyncio.gather(*(connection.lost for connection in connections))

    async def _exchange(self, connection: Connection, request: bytes, deadline: float) -> Response:
        if self._closed:
            connection.abort()
            raise Unreachable("closed", "The service is shutting down.")
        waiter = connection.send(request)
        timer = asyncio.get_running_loop().call_at(deadline, connection.fail, "timeout", "No response in time.")
        try:
            response = await waiter
        except BaseException:
            connection.abort()
            raise
        finally:
            timer.cancel()
        self._release(connection)
        return response

    async def _connect(self, target: CheckedUrl, deadline: float) -> Connection:
        connection = await self._connector.open(target, deadline)
        self._open.add(connection)
        connection.lost.add_done_callback(partial(self._forget, connection))
        return connection

    # --- connections kept for the next request ---

    def _take(self, origin: Origin, now: float) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            self._idle_count -= 1
            if connection.alive and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def _release(self, connection: Connection) -> None:
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

    def _forget(self, connection: Connection, _: "asyncio.Future[None]") -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.origin, [])
        if connection in idle:
            idle.remove(connection)
            self._idle_count -= 1
