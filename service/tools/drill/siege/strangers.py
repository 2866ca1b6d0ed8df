"""Attacks without a key."""

import asyncio
from contextlib import ExitStack, suppress

from service.tools.drill.siege.scene import Scene
from service.tools.drill.siege.target import Target

CHUNKED = b"POST /webhooks/piapi/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SENT = 100_000_000


async def _send_without_end(target: Target, start: bytes, more: bytes) -> None:
    """Up to 100 MB, or until the service ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    with suppress(ConnectionError):
        writer.write(start)
        for _ in range(SENT // len(more)):
            writer.write(more)
            await writer.drain()
    writer.close()
    del reader


async def trailers(target: Target) -> None:
    await _send_without_end(target, CHUNKED + b"0\r\n", b"X-Trailer: value\r\n" * 1000)


async def one_trailer(target: Target) -> None:
    await _send_without_end(target, CHUNKED + b"0\r\nX-Trailer: ", b"a" * 16_384)


async def chunk_extension(target: Target) -> None:
    await _send_without_end(target, CHUNKED + b"1;name=", b"a" * 16_384)


async def bodies_that_stop(target: Target) -> None:
    """A thousand bodies of which a part comes, at doors that do not want them."""
    start = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000
    with ExitStack() as held:
        for _ in range(400):
            with suppress(OSError):
                held.enter_context(target.silent(start))
            await asyncio.sleep(0)
        await asyncio.sleep(2)


async def pipelined_and_unread(target: Target) -> None:
    with ExitStack() as held:
        for _ in range(300):
            with suppress(OSError):
                held.enter_context(target.silent(target.request("GET /openapi.json") * 40))
            await asyncio.sleep(0.005)
        await asyncio.sleep(3)


async def readyz_in_a_loop(target: Target) -> None:
    written = _written(target)

    async def ask() -> None:
        for _ in range(150):
            await target.client.get("/readyz")

    await asyncio.gather(*(ask() for _ in range(20)))
    grown = _written(target) - written
    assert grown < 20_000_000, f"/readyz wrote {grown} bytes"


def _written(target: Target) -> int:
    with open(f"/proc/{target.pid}/io") as io:
        return int(io.read().partition("write_bytes:")[2].split()[0])


async def garbage(target: Target) -> None:
    before = target.log_size()
    for _ in range(2000):
        _, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()
    grown = target.log_size() - before
    assert grown < 10_000, f"garbage wrote {grown} bytes into the log"


SCENES = (
    Scene("trailers without end", trailers),
    Scene("one trailer without end", one_trailer),
    Scene("a chunk extension without end", chunk_extension),
    Scene("400 bodies that stop in the middle", bodies_that_stop),
    Scene("300 connections pipeline and never read (256 files)", pipelined_and_unread, files=256),
    Scene("/readyz in a loop from 20 connections", readyz_in_a_loop),
    Scene("2,000 requests of garbage", garbage),
)
