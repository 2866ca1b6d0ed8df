"""Tells an open page that something changed; the page then fetches itself again and swaps in what is new.

The stream carries no data: what a browser may see is decided in one place, where pages are rendered.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.core.caller import Caller
from service.core.delivery import Delivery
from service.core.errors import RateLimited
from service.flows.backlog import Listener
from service.flows.browse import Browser
from service.flows.hub import Hub
from service.ports.observers import AttemptObserver
from service.ports.outlets import Outcome
from service.web.page.gate import Gate, Visit
from service.wire.sse import FAREWELL, HEARTBEAT

CHANGE = b"event: change\ndata:\n\n"
# Changes within this time are reported as one.
GAP = 0.15
# Seconds. While several processes run, an open page fetches itself this often.
LOOK_AGAIN = 3.0
# Open pages per caller.
MOST_STREAMS = 100
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


@dataclass(eq=False, slots=True)
class Watch:
    """One open page: `task_id` None watches everything that the caller may see."""

    caller: Caller
    task_id: str | None
    changed: asyncio.Event
    touched: bool = True
    beat: bool = False

    def touch(self) -> None:
        self.touched = True
        self.changed.set()

    def heartbeat(self) -> None:
        self.beat = True
        self.changed.set()

    def concerns(self, delivery: Delivery) -> bool:
        if self.task_id is not None:
            return delivery.task_id == self.task_id
        return self.caller.may_see(delivery.owner)


class LiveDoor:
    def __init__(self, gate: Gate, browser: Browser, hub: Hub) -> None:
        self.gate = gate
        self.browser = browser
        self.hub = hub
        self.watches: set[Watch] = set()
        self._attempts: list[AttemptObserver] = []
        self._others: Callable[[], bool] = lambda: False
        self._open: Counter[Caller] = Counter()

    def routes(self) -> list[Route]:
        return [self.gate.get("/live", self.open)]

    def follow(self, attempts: list[AttemptObserver], others: Callable[[], bool]) -> None:
        """Observe delivery attempts while a page is open: they have no event of their own. `others`: whether other
        processes run, whose attempts are not observed here."""
        self._attempts = attempts
        self._others = others

    def attempted(self, delivery: Delivery, outcome: Outcome) -> None:
        for watch in self.watches:
            if watch.concerns(delivery):
                watch.touch()

    async def changed(self, watch: Watch) -> None:
        """Returns when something has changed, or may have."""
        try:
            async with asyncio.timeout(LOOK_AGAIN):
                await watch.changed.wait()
        except TimeoutError:
            if self._others():
                watch.touch()

    async def open(self, visit: Visit) -> Response:
        task_id = visit.form.get("task")
        if task_id is not None:
            await self.browser.task(visit.caller, task_id)
        if self._open[visit.caller] >= MOST_STREAMS:
            raise RateLimited(f"{MOST_STREAMS} pages are already open with this key.", retry_after=30)
        return ChangeStream(self, Watch(visit.caller, task_id, asyncio.Event()))

    def enter(self, watch: Watch) -> Listener:
        owner = None if watch.task_id is not None else watch.caller.owner
        listener = Listener(owner, watch.task_id, None, watch.touch, watch.heartbeat)
        self.hub.add(listener)
        if not self.watches:
            self._attempts.append(self)
        self.watches.add(watch)
        self._open[watch.caller] += 1
        return listener

    def leave(self, watch: Watch, listener: Listener) -> None:
        self.hub.drop(listener)
        self.watches.discard(watch)
        if not self.watches:
            self._attempts.remove(self)
        self._open[watch.caller] -= 1


class ChangeStream(Response):
    """Starts with a change, so that a page that reconnects after a restart catches up."""

    def __init__(self, door: LiveDoor, watch: Watch) -> None:
        super().__init__()
        self.door = door
        self.watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        listener = self.door.enter(self.watch)
        pump = asyncio.create_task(self._pump(listener, send))
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            pump.cancel()
            self.door.leave(self.watch, listener)

    async def _pump(self, listener: Listener, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
        while not (listener.ended or self.door.hub.closed):
            if self.watch.touched:
                self.watch.touched = listener.lost = False
                listener.clear()
                await send({"type": "http.response.body", "body": CHANGE, "more_body": True})
            elif self.watch.beat:
                await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
            self.watch.beat = False
            await self.door.changed(self.watch)
            await asyncio.sleep(GAP)
            self.watch.changed.clear()
        await send({"type": "http.response.body", "body": FAREWELL})
