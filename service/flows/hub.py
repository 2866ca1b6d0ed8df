"""Live listeners in this process: streams, pages, and requests that wait for a task to finish."""

import asyncio
import time
from collections.abc import Callable, Iterator

from service.core.event import FINISHING_EVENTS, Event
from service.flows.backlog import Backlogs, Filter, Frame, Listener

# Notifying ten thousand streams takes a tenth of a second, so it is done in slices.
SLICE = 250
Groups = dict[Filter, set[Listener]]


class Hub:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.last_seq = 0
        self.closed = False
        self.backlogs = Backlogs()
        self._by_task: dict[str, Groups] = {}
        self._by_owner: dict[str | None, Groups] = {}
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._clock = clock
        # Every listener and the time of its last heartbeat, the most idle first.
        self._last_beat: dict[Listener, float] = {}

    @property
    def streams(self) -> int:
        return len(self._last_beat)

    def add(self, listener: Listener) -> None:
        listener.backlogs = self.backlogs
        self._groups(listener).setdefault(listener.filter, set()).add(listener)
        self._last_beat[listener] = self._clock()

    def drop(self, listener: Listener) -> None:
        self._last_beat.pop(listener, None)
        listener.clear()
        groups = self._groups(listener)
        group = groups.get(listener.filter, set())
        group.discard(listener)
        if not group:
            groups.pop(listener.filter, None)
        if not groups:
            if listener.task_id is not None:
                self._by_task.pop(listener.task_id, None)
            else:
                self._by_owner.pop(listener.owner, None)

    def _groups(self, listener: Listener) -> Groups:
        if listener.task_id is not None:
            return self._by_task.setdefault(listener.task_id, {})
        return self._by_owner.setdefault(listener.owner, {})

    def publish(self, event: Event) -> None:
        """Called once for each event after its commit, in order of seq."""
        self.last_seq = event.seq
        if not self._last_beat and not self._waiters:
            return
        matched = [self._by_owner.get(event.owner), self._by_owner.get(None)]
        if event.task_id is not None:
            matched.append(self._by_task.get(event.task_id))
            if event.type in FINISHING_EVENTS:
                self._release(event.task_id)
        listeners = [one for groups in matched if groups for one in _accepting(event, groups)]
        if listeners:
            frame = Frame(event)
            for listener in listeners:
                self.backlogs.add(listener, frame)
            self._notify(listeners)

    def _notify(self, listeners: list[Listener]) -> None:
        for listener in listeners[:SLICE]:
            listener.notify()
        if len(listeners) > SLICE:
            asyncio.get_running_loop().call_soon(self._notify, listeners[SLICE:])

    def take_idle(self, seconds: float, at_least: int) -> list[Listener]:
        """Listeners idle for `seconds`, and at least the `at_least` most idle; the caller sends them a heartbeat."""
        now = self._clock()
        taken: list[Listener] = []
        for listener, since in self._last_beat.items():
            if len(taken) >= at_least and now - since < seconds:
                break
            taken.append(listener)
        for listener in taken:
            del self._last_beat[listener]
            self._last_beat[listener] = now
        return taken

    def close(self) -> None:
        """At shutdown: end every stream cleanly, and release every waiting request."""
        self.closed = True
        for task_id in list(self._waiters):
            self._release(task_id)
        for listener in list(self._last_beat):
            listener.ended = True
            listener.notify()

    # --- Prefer: wait ---

    def waiter(self, task_id: str) -> "asyncio.Future[None]":
        """Resolves at the task's finishing event or at shutdown. Create it before reading the task."""
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


def _accepting(event: Event, groups: Groups) -> Iterator[Listener]:
    for (owner, types), group in groups.items():
        if (types is None or event.type in types) and (owner is None or owner == event.owner):
            yield from group
