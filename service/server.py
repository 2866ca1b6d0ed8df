"""The HTTP server: uvicorn with streams that end at shutdown, and limits for peers and open files."""

import asyncio
import ctypes
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from service.serving.admission import Admission, raise_file_limit
from service.serving.protocol import Protocol
from service.serving.slow_peers import watch

# Idle connections: the routers in front (Heroku, cloudflared, AWS) reuse theirs for 60 to 90 s.
KEEP_ALIVE_SECONDS = 120
STOP_SECONDS = 10
# From malloc.h; and the bytes of a block that is worth two system calls.
M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 1 << 20


class Server(uvicorn.Server):
    """`before_shutdown` ends the streams: uvicorn would wait for them until its time is up."""

    def __init__(
        self, config: uvicorn.Config, before_shutdown: Callable[[], None], after_startup: Callable[[], None]
    ) -> None:
        super().__init__(config)
        assert isinstance(config.http, type)
        assert issubclass(config.http, Protocol)
        self._protocol = config.http
        self._before_shutdown = before_shutdown
        self._after_startup = after_startup

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        many = self._protocol.admission.ordinary * 9 // 10
        self._watch = asyncio.create_task(watch(self.server_state.connections, many), name="slow peers")  # type: ignore[arg-type]
        self._after_startup()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_shutdown()
        self._watch.cancel()
        await super().shutdown(sockets)
        # uvicorn would raise SIGTERM again now and so end the process before the store is closed, with 143.
        self._captured_signals.clear()


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of `host`, not listening yet. Raises OSError, socket.gaierror when there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # `::` would take the IPv4 address too, which may be in the list by itself.
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return sockets


def create_server(
    app: ASGIApp,
    host: str,
    port: int,
    before_shutdown: Callable[[], None],
    stop_seconds: int = STOP_SECONDS,
    essential_app: ASGIApp | None = None,
    after_startup: Callable[[], None] = lambda: None,
) -> Server:
    """`essential_app` serves the connections that open while files are short."""

    reduced = essential_app or app

    class LimitedProtocol(Protocol):
        admission = Admission(raise_file_limit())
        essential_app = staticmethod(reduced)

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=LimitedProtocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        access_log=False,  # paths contain tokens, and a line costs more than a callback
        log_level="warning",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=stop_seconds,
        backlog=2048,
        # Behind the platform's router; the client's address decides nothing here.
        proxy_headers=False,
    )
    return Server(config, before_shutdown, after_startup)


def tune_gc() -> None:
    """Call when everything is built, so that long-lived objects are not traversed again and again.

    The default thresholds collect every few callbacks, which doubles the p99 of the callback door. A hundred thousand
    objects take the middle generation 80 ms; ten thousand streams that open at once bring ten times as many.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 5, 500)


def return_large_blocks() -> None:
    """What is allocated for a large body goes back to the system when it is freed.

    Once glibc has freed a large block, it takes further ones out of its heap, where smaller blocks keep their pages.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has no such option, and no need of it
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def force_exit_after(seconds: float, code: int = 0) -> None:
    """End the process after `seconds`, even if threads hang."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
