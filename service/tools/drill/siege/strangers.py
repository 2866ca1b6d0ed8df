"""Attacks without a key."""

import asyncio
from contextlib import ExitStack, suppress

from service.tools.drill.siege.attack import Attack
from service.tools.drill.siege.target import SiegeTarget

CHUNKED = b"POST /webhooks/piapi/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SENT = 100_000_000


async def _send_without_end(target: SiegeTarget, start: bytes, more: bytes) -> None:
    """Up to 100 MB, or until the service ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    with suppress(ConnectionError):
        writer.write(start)
        for _ in range(SENT // len(more)):
            writer.write(more)
            await writer.drain()
    writer.close()
    del reader


async def trailers(target: SiegeTarget) -> None:
    await _send_without_end(target, CHUNKED + b"0\r\n", b"X-Trailer: value\r\n" * 1000)


async def one_trailer(target: SiegeTarget) -> None:
    await _send_without_end(target, CHUNKED + b"0\r\nX-Trailer: ", b"a" * 16_384)


async def chunk_extension(target: SiegeTarget) -> None:
    await _send_without_end(target, CHUNKED + b"1;name=", b"a" * 16_384)


async def bodies_that_stop(target: SiegeTarget) -> None:
    """A thousand bodies of which a part comes, at doors that do not want them."""
    start = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000
    with ExitStack() as held:
        for _ in range(400):
            with suppress(OSError):
                held.enter_context(target.silent(start))
            await asyncio.sleep(0)
        await asyncio.sleep(2)


async def pipelined_and_unread(target: SiegeTarget) -> None:
    with ExitStack() as held:
        for _ in range(300):
            with suppress(OSError):
                held.enter_context(target.silent(target.request("GET /openapi.json") * 40))
            await asyncio.sleep(0.005)
        await asyncio.sleep(3)


async def readyz_in_a_loop(target: SiegeTarget) -> None:
    written = _written(target)

    async def ask() -> None:
        for _ in range(150):
            await target.client.get("/readyz")

    await asyncio.gather(*(ask() for _ in range(20)))
    grown = _written(target) - written
    assert grown < 20_000_000, f"/readyz wrote {grown} bytes"


def _written(target: SiegeTarget) -> int:
    with open(f"/proc/{target.pid}/io") as io:
        return int(io.read().partition("write_bytes:")[2].split()[0])


async def garbage(target: SiegeTarget) -> None:
    before = target.log_size()
    for _ in range(2000):
        _, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()
    grown = target.log_size() - before
    assert grown < 10_000, f"garbage wrote {grown} bytes into the log"


ATTACKS = (
    Attack("trailers without end", trailers),
    Attack("one trailer without end", one_trailer),
    Attack("a chunk extension without end", chunk_extension),
    Attack("400 bodies that stop in the middle", bodies_that_stop),
    Attack("300 connections pipeline and never read (256 files)", pipelined_and_unread, files=256),
    Attack("/readyz in a loop from 20 connections", readyz_in_a_loop),
    Attack("2,000 requests of garbage", garbage),
)
