"""The load generator, a process of its own: closed loop (so many in parallel) or open loop (so many a second).

Reads its order as JSON from the standard input and writes what came of it as JSON to the standard output.
"""

import asyncio
import gc
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httptools
import orjson
import uvloop

from bench import calls
from bench.clock import cpu_seconds
from bench.order import LoadOrder, Result

PATIENCE = 20.0


class LoadRun:
    def __init__(self, order: LoadOrder) -> None:
        self.order = order
        self.result = Result()
        self.work = requests_of(order)
        self.statuses: Counter[int] = Counter()
        self.open: set[LoadConnection] = set()
        self.over = False
        self.empty = asyncio.Event()

    def next(self) -> "Sequence | None":
        found = None if self.over else next(self.work, None)
        if found is None:
            self.over = True
            return None
        self.result.tasks += 1
        moments: list[int] = []
        if self.order.moments:
            self.result.moments.append(moments)
        return Sequence(found, moments)

    def left(self, connection: "LoadConnection") -> None:
        self.open.discard(connection)
        if not self.open:
            self.empty.set()

    async def connect(self) -> "LoadConnection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: LoadConnection(self), "127.0.0.1", self.order.port)
        self.open.add(connection)
        return connection

    async def closed_loop(self) -> None:
        connections = [await self.connect() for _ in range(self.order.parallel)]
        self.result.begun = time.monotonic_ns()
        asyncio.get_running_loop().call_later(self.order.seconds, self.stop)
        for connection in connections:
            connection.go_on()
        await self.settled()

    async def open_loop(self) -> None:
        """At random moments, whatever the answers do: a busy line is never waited for. Latency is from the write."""
        chance = random.Random(7)
        idle = deque([await self.connect() for _ in range(64)])
        self.result.begun = time.monotonic_ns()
        due = end = time.monotonic()
        end += self.order.seconds
        lateness: list[float] = []
        waiting: deque[Sequence] = deque()
        apart = min(1.0, self.order.seconds / 4)
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            while due <= time.monotonic():
                lateness.append(time.monotonic() - due)
                due += chance.expovariate(self.order.rate)
                sequence = waiting.popleft() if len(waiting) > self.order.rate * apart else self.next()
                if sequence is None:
                    break
                connection = idle.popleft() if idle else await self.connect()
                connection.then = idle.append
                connection.send(sequence)
                # The second call of a task comes some time after its first.
                if sequence.rest:
                    waiting.append(sequence)
        self.stop()
        await self.settled()
        self.result.late_ms = sorted(lateness)[int(len(lateness) * 0.99)] * 1000

    def stop(self) -> None:
        self.over = True
        for connection in list(self.open):
            connection.close_if_idle()
        if not self.open:
            self.empty.set()

    async def settled(self) -> None:
        try:
            async with asyncio.timeout(self.order.seconds + PATIENCE):
                await self.empty.wait()
        except TimeoutError:
            self.result.lost += len(self.open)
        self.result.ended = self.result.ended or time.monotonic_ns()
        self.result.answered = sum(count for status, count in self.statuses.items() if 200 <= status < 300)
        self.result.refused = {str(status): count for status, count in self.statuses.items() if not 200 <= status < 300}
        self.result.latencies.sort()


class Sequence:
    """Requests of one task: each is sent after the answer to the one before."""

    __slots__ = ("moments", "rest")

    def __init__(self, found: list[bytes], moments: list[int]) -> None:
        self.rest = found[::-1]
        self.moments = moments


class LoadConnection(asyncio.Protocol):
    def __init__(self, run: LoadRun) -> None:
        self.run = run
        self.parser = httptools.HttpResponseParser(self)
        self.sequence: Sequence | None = None
        self.sent_at = 0
        # Open loop: who takes the line back. Closed loop: it goes on by itself.
        self.then: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, sequence: Sequence) -> None:
        self.sequence = sequence
        self.sent_at = time.monotonic_ns()
        sequence.moments.append(self.sent_at)
        self.transport.write(sequence.rest.pop())

    def go_on(self) -> None:
        present = self.sequence
        following = present if present is not None and present.rest and not self.run.over else self.run.next()
        if following is None:
            self.sequence = None
            self.transport.close()
        else:
            self.send(following)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.monotonic_ns()
        run = self.run
        run.statuses[self.parser.get_status_code()] += 1
        run.result.latencies.append((now - self.sent_at) / 1e6)
        run.result.ended = now
        if self.then is None:
            self.go_on()
            return
        self.sequence = None
        if run.over:
            self.transport.close()
        else:
            self.then(self)

    def close_if_idle(self) -> None:
        if self.sequence is None:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.sequence is not None:
            self.run.result.lost += 1
        self.run.left(self)


def requests_of(order: LoadOrder) -> Iterator[list[bytes]]:
    if order.what == "callbacks":
        return calls.callbacks(Path(order.file), order.first, order.count)
    if order.what == "submits":
        return calls.submits(order.count)
    return calls.gets(order.what, order.count)


async def main() -> None:
    run = LoadRun(LoadOrder(**orjson.loads(sys.stdin.buffer.read())))
    gc.disable()
    server = run.order.server
    before = cpu_seconds(server) if server else 0.0
    await (run.open_loop() if run.order.rate else run.closed_loop())
    run.result.server_cpu = cpu_seconds(server) - before if server else 0.0
    sys.stdout.buffer.write(orjson.dumps(asdict(run.result)))


if __name__ == "__main__":
    uvloop.run(main())
