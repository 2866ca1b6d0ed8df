"""uvicorn with what it leaves to the application: streams that end at shutdown, and limits for slow senders."""

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# A request's head must be there in this time, and may be this large.
HEAD_SECONDS = 15.0
# And its body in this one; the API's own limit answers 408 before.
BODY_SECONDS = 45.0
HEAD_BYTES = 64 * 1024
STOP_SECONDS = 10


class Protocol(HttpToolsProtocol):
    """Cuts who sends the head or the body of a request too slowly, or a head without end.

    A request that comes in one piece, as most do, never meets a timer.
    """

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    # What the timer waits for.
    _part = ""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm("head")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            self._wait_for_head(len(data))
        elif cycle.more_body:
            self._arm("body")
        elif self._part:
            self._disarm()

    def _wait_for_head(self, size: int) -> None:
        self._arm("head")
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self, part: str) -> None:
        """From the first byte of this part on, however many pieces it comes in."""
        if part == self._part:
            return
        self._disarm()
        self._part = part
        self._timer = self.loop.call_later(HEAD_SECONDS if part == "head" else BODY_SECONDS, self._cut)

    def _disarm(self) -> None:
        self._part, self._head_bytes = "", 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        self._timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """`before_shutdown` ends the streams: uvicorn would wait for them for ever."""

    def __init__(self, config: uvicorn.Config, before_shutdown: Callable[[], None]) -> None:
        super().__init__(config)
        self._before_shutdown = before_shutdown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_shutdown()
        await super().shutdown(sockets)
        # uvicorn would raise SIGTERM again now and so end the process before the store is closed, with 143.
        self._captured_signals.clear()


def create_server(
    app: ASGIApp, host: str, port: int, before_shutdown: Callable[[], None], stop_seconds: int = STOP_SECONDS
) -> Server:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        access_log=False,  # paths hold tokens, and a line costs more than a callback
        log_level="warning",
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=stop_seconds,
        backlog=2048,
        # The platform's router stands in front; who the client is decides nothing here.
        proxy_headers=False,
    )
    return Server(config, before_shutdown)


def calm_collector() -> None:
    """Call when everything is built: what lives as long as the process is not looked through again and again.

    The default thresholds collect every few callbacks, which doubles the p99 of the callback door. A hundred thousand
    objects take the middle generation 80 ms; ten thousand streams that open at once bring ten times as many.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 5, 500)


def end_for_sure(seconds: float) -> None:
    """End the process after this time, whatever its threads wait for."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
