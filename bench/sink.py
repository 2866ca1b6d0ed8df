"""The other side of the service: subscribers that answer at once and keep a book, and a provider that takes every task.

A process of its own. Its book is read over the same port: `/-/book`, `/-/arrivals/PATH`, `/-/forget`.
"""

import asyncio
import gc
import itertools
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvloop

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
HANG = b"/hang"
SUBMIT = b"/api/v1/task"


@dataclass
class PathArrivals:
    """What came to one path: the first moment (monotonic ns) of each webhook-id, and how often it came again."""

    arrivals: dict[bytes, int] = field(default_factory=dict)
    repeats: int = 0
    last: int = 0


BOOK: dict[bytes, PathArrivals] = {}
IDS = itertools.count(1)


class Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        while self.buffer:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            length = int(value_of(head, b"\r\ncontent-length: ") or 0)
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            self.request(head.split(b" ", 2)[1], head, body)

    def request(self, path: bytes, head: bytes, body: bytes) -> None:
        if path.startswith(HANG):
            note(path, head)
        elif path.startswith(b"/-/"):
            self.answer(orjson.dumps(control(path[3:])))
        elif path == SUBMIT:
            note(path, head)
            self.answer(submitted(body))
        else:
            note(path, head)
            self.transport.write(OK)

    def answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)


def value_of(head: bytes, name: bytes) -> bytes:
    start = head.find(name)
    if start < 0:
        return b""
    start += len(name)
    end = head.find(b"\r\n", start)
    return head[start:] if end < 0 else head[start:end]


def note(path: bytes, head: bytes) -> None:
    page = BOOK.get(path)
    if page is None:
        page = BOOK[path] = PathArrivals()
    page.last = time.monotonic_ns()
    name = value_of(head, b"\r\nwebhook-id: ") or b"%d" % next(IDS)
    if name in page.arrivals:
        page.repeats += 1
    else:
        page.arrivals[name] = page.last


def submitted(body: bytes) -> bytes:
    """As PiAPI answers: the task with an id, and its config told back."""
    task = orjson.loads(body)
    data = {**task, "task_id": f"fast-{next(IDS)}", "status": "pending", "output": {}, "error": {"code": 0}}
    return orjson.dumps({"code": 200, "message": "success", "data": data})


def control(command: bytes) -> Any:
    name, _, path = command.partition(b"/")
    if name == b"forget":
        BOOK.clear()
        gc.collect()
        return {}
    if name == b"arrivals":
        page = BOOK.get(b"/" + path, PathArrivals())
        return {key.decode(): moment for key, moment in page.arrivals.items()}
    return {
        path.decode(): {"count": len(page.arrivals), "repeats": page.repeats, "last": page.last}
        for path, page in BOOK.items()
    }


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0, backlog=4096)
    # A pause of the collector would count as latency of the service.
    gc.disable()
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
