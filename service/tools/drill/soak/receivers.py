"""The other ends: receivers that count what is finished, are slow or hang, and streams that nobody reads."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from service.tools.drill.siege.target import SiegeTarget

SLOW_SECONDS = 0.5
STREAMS = 5
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receivers:
    """`/finished` counts and responds at once, `/slow` after half a second, `/hang` never."""

    def __init__(self) -> None:
        self.finished: set[str] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                body = await reader.readexactly(length)
                path = head.split(b" ", 2)[1]
                if path == b"/hang":
                    await reader.read()
                    break
                if path == b"/slow":
                    await asyncio.sleep(SLOW_SECONDS)
                else:
                    self.finished.add(orjson.loads(body)["data"]["id"])
                writer.write(OK)
                await writer.drain()
        writer.close()


async def open_unread_streams(target: SiegeTarget) -> None:
    """Streams of all events that nobody reads; one that the service ends is opened again."""

    async def one() -> None:
        while True:
            with contextlib.ExitStack() as held:
                request = target.request("GET /v1/events", "careless", "Accept: text/event-stream")
                peer = held.enter_context(target.silent(request))
                while not _ended(peer):
                    await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        for _ in range(STREAMS):
            group.create_task(one())


def _ended(peer: socket.socket) -> bool:
    """Without reading what is there."""
    peer.setblocking(False)
    try:
        return peer.send(b"\r\n") == 0
    except BlockingIOError:
        return False
    except OSError:
        return True
