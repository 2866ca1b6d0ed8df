"""Server-sent events without a gap: listen first, replay what was missed, then follow.

One coroutine a stream, and it sleeps in `receive` until the reader leaves; a short-lived task sends when there is
something to send. Ten thousand idle streams are ten thousand small objects and nothing more.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.core.errors import CallbridgeError
from service.core.event import Event
from service.flows.hub import Hub, Listener
from service.ports import EventQuery, Store
from service.wire.sse import FAREWELL, HEARTBEAT, frame

PAGE = 100
# The longest silence of a stream; after four fifths of it the next beat is due, which is looked for fifteen times.
HEARTBEAT_SECONDS = 15.0
DUE, TICK = 4 / 5, 1 / 15
# How many get their beat before others have their turn.
SLICE = 100
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # nginx and its relatives buffer a stream otherwise.
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """`resume` None: from now on. `ends_after`: is this the last event, when nothing newer is known?

    `headers` are added to those of every stream.
    """

    def __init__(
        self,
        store: Store,
        hub: Hub,
        query: EventQuery,
        resume: int | None,
        *,
        ends_after: Callable[[Event], bool] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.store = store
        self.hub = hub
        self.query = query
        self.resume = resume
        self.ends_after = ends_after or _never
        self.headers_added = list(headers)
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS + self.headers_added})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        reader = _Reader(self, send)
        try:
            await reader.replay()
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not reader.let_go:
                raise
        except CallbridgeError:
            # The store does not answer: the reader comes back with its Last-Event-ID.
            await send({"type": "http.response.body", "body": FAREWELL})
        finally:
            reader.close()


class _Reader:
    __slots__ = ("beat", "done", "let_go", "listener", "live", "main", "pumping", "seen", "send", "stream", "stuck")

    def __init__(self, stream: EventStream, send: Send) -> None:
        query = stream.query
        types = None if query.types is None else frozenset(query.types)
        self.stream = stream
        self.send = send
        self.listener = Listener(query.owner, query.task_id, types, self.wake, self.heartbeat)
        self.main = asyncio.current_task()
        self.live = self.beat = self.done = self.let_go = False
        self.stuck = 0
        self.pumping: asyncio.Task[None] | None = None
        self.seen = stream.resume or 0
        stream.hub.add(self.listener)
        # Everything up to here can be read from the store, everything after it comes to the listener.
        if stream.resume is None:
            self.seen = stream.hub.last_seq

    async def replay(self) -> None:
        up_to = self.stream.hub.last_seq
        finished = False
        await self._write(b": callbridge\n\n")
        while self.seen < up_to and self.stream.resume is not None:
            page = await self.stream.store.events.after(
                replace(self.stream.query, after=self.seen, up_to=up_to, limit=PAGE)
            )
            if not page:
                break
            await self._write(b"".join(map(frame, page)))
            self.seen = page[-1].seq
            finished = self.stream.ends_after(page[-1])
        self.live = True
        if finished:
            await self._end(b"")
        elif self.listener.backlog or self.listener.ended or self.stream.hub.closed:
            self.listener.ended |= self.stream.hub.closed
            self.wake()

    def wake(self) -> None:
        if self.live and self.pumping is None and not self.done:
            self.pumping = asyncio.get_running_loop().create_task(self._pump())

    def heartbeat(self) -> None:
        """A reader that took nothing between two beats is let go: it resumes by Last-Event-ID."""
        if self.live and self.pumping is None:
            self.beat = True
            self.wake()
            return
        self.stuck += 1
        if self.stuck == 2 and self.main is not None:
            self.let_go = True
            self.main.cancel()

    async def _pump(self) -> None:
        try:
            while not self.done:
                if self.listener.lost:
                    await self._end(b"")
                    return
                taken = [(event, text) for event, text in self.listener.take() if event.seq > self.seen]
                if taken:
                    self.seen = taken[-1][0].seq
                    await self._write(b"".join(text for _, text in taken))
                    if any(self.stream.ends_after(event) for event, _ in taken):
                        await self._end(b"")
                elif self.listener.ended:
                    await self._end(FAREWELL)
                elif self.beat:
                    await self._write(HEARTBEAT)
                else:
                    return
                self.beat = False
        finally:
            self.pumping = None

    async def _write(self, text: bytes) -> None:
        await self.send({"type": "http.response.body", "body": text, "more_body": True})
        self.stuck = 0

    async def _end(self, text: bytes) -> None:
        self.done = True
        await self.send({"type": "http.response.body", "body": text})

    def close(self) -> None:
        self.done = True
        self.stream.hub.drop(self.listener)
        # It calls us and we hold it, so that only the collector, which seldom runs, would free the whole connection.
        self.listener.notify = self.listener.heartbeat = _nothing
        self.main = None
        if self.pumping is not None:
            self.pumping.cancel()


def _nothing() -> None: ...


def _never(event: Event) -> bool:
    return False


async def keep_alive(hub: Hub) -> None:
    """One clock for all streams. They take turns: ten thousand beats at once would hold up every callback."""
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS * TICK)
        silent = next_beats(hub)
        for first in range(0, len(silent), SLICE):
            for listener in silent[first : first + SLICE]:
                listener.heartbeat()
            await asyncio.sleep(0)


def next_beats(hub: Hub) -> list[Listener]:
    """Whose beat is due at this tick, and the share that lets everybody have one in time."""
    return hub.take_silent(HEARTBEAT_SECONDS * DUE, int(hub.streams * TICK / DUE))
