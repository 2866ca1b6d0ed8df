"""Live listeners in this process. Each has a short list of what it has not read yet; who lets it grow is let go."""

import asyncio
import time
from collections.abc import Callable, Iterator

from service.core.event import FINISHING_EVENTS, Event
from service.wire.sse import frame

# What a reader may leave unread before it is let go: it resumes by Last-Event-ID from the store.
LONGEST_BACKLOG = 1000
# A push to ten thousand streams takes a tenth of a second: others get their turn in between.
SLICE = 250


class Listener:
    """`owner` None hears everybody's events. `notify` is called when something new is there, or the end."""

    __slots__ = ("backlog", "ended", "heartbeat", "lost", "notify", "owner", "task_id", "types")

    def __init__(
        self,
        owner: str | None,
        task_id: str | None,
        types: frozenset[str] | None,
        notify: Callable[[], None],
        heartbeat: Callable[[], None],
    ) -> None:
        self.owner = owner
        self.task_id = task_id
        self.types = types
        self.notify = notify
        self.heartbeat = heartbeat
        self.backlog: list[tuple[Event, bytes]] = []
        self.ended = False
        self.lost = False

    @property
    def wish(self) -> "Wish":
        return self.owner, self.types

    def take(self) -> list[tuple[Event, bytes]]:
        taken, self.backlog = self.backlog, []
        return taken


# Listeners of one wish are asked once for all: ten thousand that want other events cost an event nothing.
Wish = tuple[str | None, frozenset[str] | None]
Rooms = dict[Wish, set[Listener]]


class Hub:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.last_seq = 0
        self.closed = False
        self._by_task: dict[str, Rooms] = {}
        self._by_owner: dict[str | None, Rooms] = {}
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._clock = clock
        # Everybody, and since when without a heartbeat: the longest first.
        self._silent: dict[Listener, float] = {}

    @property
    def streams(self) -> int:
        return len(self._silent)

    def add(self, listener: Listener) -> None:
        self._rooms(listener).setdefault(listener.wish, set()).add(listener)
        self._silent[listener] = self._clock()

    def drop(self, listener: Listener) -> None:
        self._silent.pop(listener, None)
        rooms = self._rooms(listener)
        room = rooms.get(listener.wish, set())
        room.discard(listener)
        if not room:
            rooms.pop(listener.wish, None)
        if not rooms:
            if listener.task_id is not None:
                self._by_task.pop(listener.task_id, None)
            else:
                self._by_owner.pop(listener.owner, None)

    def _rooms(self, listener: Listener) -> Rooms:
        if listener.task_id is not None:
            return self._by_task.setdefault(listener.task_id, {})
        return self._by_owner.setdefault(listener.owner, {})

    def publish(self, event: Event) -> None:
        """Called once for each event after its commit, in order of seq."""
        self.last_seq = event.seq
        houses = [self._by_owner.get(event.owner), self._by_owner.get(None)]
        if event.task_id is not None:
            houses.append(self._by_task.get(event.task_id))
            if event.type in FINISHING_EVENTS:
                self._release(event.task_id)
        listeners = [one for rooms in houses if rooms for one in _who_want(event, rooms)]
        if listeners:
            entry = (event, frame(event))
            for listener in listeners:
                if len(listener.backlog) < LONGEST_BACKLOG:
                    listener.backlog.append(entry)
                else:
                    listener.lost = True
            self._notify(listeners)

    def _notify(self, listeners: list[Listener]) -> None:
        for listener in listeners[:SLICE]:
            listener.notify()
        if len(listeners) > SLICE:
            asyncio.get_running_loop().call_soon(self._notify, listeners[SLICE:])

    def take_silent(self, seconds: float, at_least: int) -> list[Listener]:
        """Who gets a heartbeat now: all that had none for so long, and at any rate so many of the longest silent."""
        now = self._clock()
        taken: list[Listener] = []
        for listener, since in self._silent.items():
            if len(taken) >= at_least and now - since < seconds:
                break
            taken.append(listener)
        for listener in taken:
            del self._silent[listener]
            self._silent[listener] = now
        return taken

    def close(self) -> None:
        """Shutdown: every stream says farewell and ends, every waiting request is answered."""
        self.closed = True
        for task_id in list(self._waiters):
            self._release(task_id)
        for listener in list(self._silent):
            listener.ended = True
            listener.notify()

    # --- Prefer: wait ---

    def waiter(self, task_id: str) -> "asyncio.Future[None]":
        """Resolves at the task's next finishing event, or at shutdown. Make it before you read the task."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.closed:
            future.set_result(None)
            return future
        self._waiters.setdefault(task_id, set()).add(future)
        future.add_done_callback(lambda done: self._forget(task_id, done))
        return future

    def _forget(self, task_id: str, future: "asyncio.Future[None]") -> None:
        waiting = self._waiters.get(task_id)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                self._waiters.pop(task_id, None)

    def _release(self, task_id: str) -> None:
        for future in self._waiters.pop(task_id, ()):
            if not future.done():
                future.set_result(None)


def _who_want(event: Event, rooms: Rooms) -> Iterator[Listener]:
    for (owner, types), room in rooms.items():
        if (types is None or event.type in types) and (owner is None or owner == event.owner):
            yield from room
