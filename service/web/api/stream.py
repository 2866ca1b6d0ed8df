"""Server-sent events without a gap: listen first, replay what was missed, then follow.

One coroutine for each stream, and it sleeps in `receive` until the reader leaves; a short-lived task sends when there
is something to send. Ten thousand idle streams are ten thousand small objects and nothing more.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.core.errors import CallbridgeError
from service.core.event import Event
from service.flows.backlog import Listener
from service.flows.hub import Hub
from service.flows.turns import Turns
from service.ports.queries import EventQuery
from service.ports.store import Store
from service.web.budget import Budget
from service.web.responses import send_pieces
from service.wire.sse import FAREWELL, HEARTBEAT, frame, reset_frame

# One page of a replay ends by the number of its events or by their bytes.
PAGE = 100
PAGE_BYTES = 256 * 1024
# Small events are written together, up to so many bytes.
WRITE_BYTES = 64 * 1024
# The longest silence of a stream; after four fifths of it the next beat is due, which is looked for fifteen times.
HEARTBEAT_SECONDS = 15.0
DUE, TICK = 4 / 5, 1 / 15
# How many get their heartbeat before others have their turn.
SLICE = 100
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # no-transform: a proxy that compresses would hold events back.
    (b"cache-control", b"no-store, no-transform"),
    # nginx and its relatives buffer a stream otherwise.
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True)
class Feed:
    """Where streams get their events; `budget` bounds the pages of replays in memory, `turns` who reads them."""

    store: Store
    hub: Hub
    budget: Budget
    turns: Turns


class EventStream(Response):
    """`resume` None: from now on. `ends_after`: is this the last event, when nothing newer is known?"""

    def __init__(
        self, feed: Feed, query: EventQuery, resume: int | None, ends_after: Callable[[Event], bool] | None = None
    ) -> None:
        self.feed = feed
        self.query = query
        self.resume = resume
        self.ends_after = ends_after or _never
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        reader = _Reader(self, send)
        try:
            await reader.replay()
            while (await receive())["type"] != "http.disconnect":
                pass
        except CallbridgeError:
            # The store does not respond, or memory is short: the reader comes back with its Last-Event-ID.
            await send({"type": "http.response.body", "body": FAREWELL})
        finally:
            reader.close()


class _Reader:
    __slots__ = ("beat", "done", "listener", "live", "pumping", "seen", "send", "stream")

    def __init__(self, stream: EventStream, send: Send) -> None:
        query = stream.query
        types = None if query.types is None else frozenset(query.types)
        self.stream = stream
        self.send = send
        self.listener = Listener(query.owner, query.task_id, types, self.wake, self.heartbeat)
        self.live = self.beat = self.done = False
        self.pumping: asyncio.Task[None] | None = None
        stream.feed.hub.add(self.listener)
        # Everything up to here can be read from the store, everything after it comes to the listener.
        self.seen = stream.feed.hub.last_seq if stream.resume is None else stream.resume

    async def replay(self) -> None:
        feed, query = self.stream.feed, self.stream.query
        hub, reader = feed.hub, query.owner or ""
        up_to = hub.last_seq
        finished = False
        await self._write(b": callbridge\n\n")
        if self.seen > up_to:
            await self._reset_if_unknown()
        while self.seen < up_to:
            # Held until it is written: a hundred readers that do not read must not hold a hundred pages.
            with feed.budget.reserve(reader) as reservation:
                await reservation.grow(PAGE_BYTES)
                async with feed.turns.take(reader):
                    page = await feed.store.events.after(
                        replace(query, after=self.seen, up_to=up_to, limit=PAGE, max_bytes=PAGE_BYTES)
                    )
                reservation.resize(2 * sum(len(event.body) for event in page))
                if not page:
                    break
                await self._write(b"".join(map(frame, page)))
                self.seen, finished = page[-1].seq, self.stream.ends_after(page[-1])
        self.live = True
        if finished:
            await self._end(b"")
        elif self.listener.backlog or self.listener.lost or self.listener.ended or hub.closed:
            self.listener.ended |= hub.closed
            self.wake()

    async def _reset_if_unknown(self) -> None:
        """Another process may know newer events than this one has heard of; what the store never gave out is reset."""
        last = await self.stream.feed.store.events.last_seq()
        if self.seen > last:
            unknown, self.seen = self.seen, last
            await self._write(reset_frame(unknown, last))

    def wake(self) -> None:
        if self.live and self.pumping is None and not self.done:
            self.pumping = asyncio.get_running_loop().create_task(self._pump())

    def heartbeat(self) -> None:
        # A reader that is being written to needs none.
        self.beat = self.pumping is None
        self.wake()

    async def _pump(self) -> None:
        listener = self.listener
        try:
            while not self.done:
                if listener.lost:
                    # It fell too far behind: it resumes by its Last-Event-ID.
                    await self._end(b"")
                elif frames := listener.next(WRITE_BYTES):
                    unseen = [one for one in frames if one.event.seq > self.seen]
                    await self._write(b"".join(one.text for one in unseen))
                    if unseen:
                        self.seen = unseen[-1].event.seq
                    listener.remove(len(frames))
                    if any(self.stream.ends_after(one.event) for one in unseen):
                        await self._end(b"")
                elif listener.ended:
                    await self._end(FAREWELL)
                elif self.beat:
                    self.beat = False
                    await self._write(HEARTBEAT)
                else:
                    return
        finally:
            self.pumping = None

    async def _write(self, text: bytes) -> None:
        if text:
            await send_pieces(self.send, text, more_body=True)

    async def _end(self, text: bytes) -> None:
        self.done = True
        await self.send({"type": "http.response.body", "body": text})

    def close(self) -> None:
        self.done = True
        self.stream.feed.hub.drop(self.listener)
        # It calls us and we hold it: only the collector, which seldom runs, would free the whole connection.
        self.listener.notify = self.listener.heartbeat = _nothing
        if self.pumping is not None:
            self.pumping.cancel()


def _nothing() -> None: ...


def _never(event: Event) -> bool:
    return False


async def keep_alive(hub: Hub) -> None:
    """One clock for all streams. They take turns: ten thousand beats at once would hold up every callback."""
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS * TICK)
        idle = next_beats(hub)
        for first in range(0, len(idle), SLICE):
            for listener in idle[first : first + SLICE]:
                listener.heartbeat()
            await asyncio.sleep(0)


def next_beats(hub: Hub) -> list[Listener]:
    """Whose beat is due at this tick, and the share that lets everybody have one in time."""
    return hub.take_idle(HEARTBEAT_SECONDS * DUE, int(hub.streams * TICK / DUE))
