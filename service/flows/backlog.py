"""Unread events of live readers, bounded for each reader and for all of them."""

from collections import deque
from collections.abc import Callable

from service.core.event import Event
from service.wire.sse import frame

# A reader whose backlog overflows is disconnected, and resumes from the store.
MAX_EVENTS = 1000
MAX_BYTES = 4 * 1024 * 1024
# Of all readers; a frame in many backlogs is in memory once, and counts once.
MAX_ALL_BYTES = 24 * 1024 * 1024


class Frame:
    """One event as bytes of a stream, shared by all readers."""

    __slots__ = ("event", "holders", "size", "text")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.text = frame(event)
        self.size = len(event.body) + len(self.text)
        self.holders = 0


class Listener:
    """`owner` None gets the events of all owners. `notify` is called for new events and at the end.

    `lost`: it fell too far behind, and its backlog was dropped.
    """

    __slots__ = ("backlog", "backlogs", "ended", "heartbeat", "lost", "notify", "owner", "size", "task_id", "types")

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
        self.backlog: deque[Frame] = deque()
        self.backlogs: Backlogs | None = None
        self.size = 0
        self.ended = False
        self.lost = False

    @property
    def filter(self) -> "Filter":
        return self.owner, self.types

    def next(self, max_bytes: int) -> list[Frame]:
        """The oldest unread frames, at least one if there is any. They stay until `remove`."""
        found: list[Frame] = []
        size = 0
        for one in self.backlog:
            size += len(one.text)
            if found and size > max_bytes:
                break
            found.append(one)
        return found

    def remove(self, count: int) -> None:
        if self.backlogs is not None:
            self.backlogs.remove(self, min(count, len(self.backlog)))

    def clear(self) -> None:
        self.remove(len(self.backlog))


# Listeners are grouped by filter and matched once per group: ten thousand with other filters cost an event nothing.
Filter = tuple[str | None, frozenset[str] | None]


class Backlogs:
    def __init__(self) -> None:
        # Bytes of all frames that are in a backlog.
        self.held = 0
        self._behind: set[Listener] = set()

    def add(self, listener: Listener, one: Frame) -> None:
        if listener.lost:
            return
        if listener.backlog and (len(listener.backlog) >= MAX_EVENTS or listener.size + one.size > MAX_BYTES):
            self._lose(listener)
            return
        if one.holders == 0:
            self.held += one.size
        one.holders += 1
        listener.backlog.append(one)
        listener.size += one.size
        self._behind.add(listener)
        while self.held > MAX_ALL_BYTES and self._behind:
            self._lose(max(self._behind, key=lambda reader: reader.size))

    def remove(self, listener: Listener, count: int) -> None:
        for _ in range(count):
            one = listener.backlog.popleft()
            listener.size -= one.size
            one.holders -= 1
            if one.holders == 0:
                self.held -= one.size
        if not listener.backlog:
            self._behind.discard(listener)

    def _lose(self, listener: Listener) -> None:
        listener.lost = True
        listener.clear()
        listener.notify()
