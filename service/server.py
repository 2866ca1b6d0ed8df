"""uvicorn with what it leaves to the application: streams that end at shutdown, and limits for slow senders."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# A request's head must be there in this time, and may be this large.
HEAD_SECONDS = 15.0
HEAD_BYTES = 64 * 1024
STOP_SECONDS = 10


class Protocol(HttpToolsProtocol):
    """Cuts who opens a connection and sends its head too slowly or without end."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._cut)

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and self.cycle is not None and self.cycle.response_complete:
            # The next request on a kept connection: its head has the same time.
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._cut)
        if self._head_timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        # Checked after parsing: a large body may come in one piece with its head.
        if self._head_timer is not None and self._head_bytes > HEAD_BYTES:
            self._cut()

    def on_headers_complete(self) -> None:
        self._forget_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._head_bytes = 0

    def _cut(self) -> None:
        self._head_timer = None
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


def create_server(
    app: ASGIApp, host: str, port: int, before_shutdown: Callable[[], None], stop_seconds: int = STOP_SECONDS
) -> Server:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
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


def keep_to_one_cpu() -> None:
    """All threads on one CPU: the thread that commits starves beside a busy loop when they are on two."""
    if not hasattr(os, "sched_setaffinity"):
        return
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) > 1:
        try:
            os.sched_setaffinity(0, {allowed[os.getpid() % len(allowed)]})
        except OSError:
            return
