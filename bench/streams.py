"""Readers of server-sent events, a process of its own: as many streams as there are paths in its order.

Reads its order as one line of JSON, says `ready` when every stream is open, and tells what came when its input ends.
"""

import asyncio
import gc
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

import orjson
import uvloop

from bench.calls import API_KEY

AT_ONCE = 100
SEQ = re.compile(rb"^id: (\d+)\n", re.MULTILINE)


@dataclass
class Arrival:
    """Of one event: how many streams have it, and when (monotonic ns) the first and the last of them got it."""

    count: int
    first: int
    last: int


class Reader(asyncio.Protocol):
    def __init__(self, path: str, arrivals: dict[int, Arrival]) -> None:
        self.request = (
            f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {API_KEY}\r\naccept: text/event-stream\r\n\r\n"
        )
        self.arrivals = arrivals
        self.rest = b""
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        transport.write(self.request.encode())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.open.done() and b": callbridge" in data:
            self.open.set_result(None)
        # An id may be cut in two by the packets.
        data = self.rest + data
        cut = data.rfind(b"\n") + 1
        self.rest = data[cut:]
        for seq in SEQ.findall(data[:cut]):
            self.note(int(seq), now)

    def note(self, seq: int, now: int) -> None:
        arrival = self.arrivals.get(seq)
        if arrival is None:
            self.arrivals[seq] = Arrival(1, now, now)
        else:
            arrival.count += 1
            arrival.last = now

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.open.done():
            self.open.set_exception(ConnectionError("a stream did not open"))


async def main() -> None:
    order = orjson.loads(sys.stdin.readline())
    arrivals: dict[int, Arrival] = {}
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(AT_ONCE)
    readers = [Reader(path, arrivals) for path in order["paths"]]

    async def connect(reader: Reader) -> None:
        async with gate:
            await loop.create_connection(lambda: reader, "127.0.0.1", order["port"])
            await reader.open

    await asyncio.gather(*map(connect, readers))
    gc.disable()
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    told = {str(seq): [item.count, item.first, item.last] for seq, item in arrivals.items()}
    lost = sum(reader.lost for reader in readers)
    print(orjson.dumps({"lost": lost, "arrivals": told}).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
