"""The store: its parts, their questions, and what it tells after a commit."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from service.core.delivery import Delivery
from service.core.event import Event
from service.core.points import Point
from service.core.subscription import Subscription
from service.core.task import Task
from service.core.transitions import Decide
from service.ports.clock import ClockStore
from service.ports.copies import Copies
from service.ports.files import InlineFiles
from service.ports.insight import InsightStore
from service.ports.metrics import MetricsStore
from service.ports.replays import ReplayStore
from service.ports.work import CheckStore, DeliveryQueue, DeliveryTaker, LaneStore, SubmitStore, WorkerStore


@dataclass(frozen=True, slots=True)
class Idempotency:
    """`fingerprint` is the hash of the body: the same key with another body is refused."""

    key: str
    fingerprint: bytes


class Call(Struct, frozen=True):
    """One call at a provider door, for the audit. `body` is redacted and capped before it gets here."""

    provider: str
    task_id: str | None
    result: str
    status_code: int
    detail: str | None = None
    body: str | None = None


T = TypeVar("T")


class Rows(list[T]):
    """The rows of one page; `more`: the page ended by the query's limit or bytes, and further rows exist."""

    more = False


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """`max_bytes`: the page ends after the row with which its stored bytes pass this, whatever the limit says."""

    owner: str | None
    status: str | None = None
    provider: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    before: str | None = None
    limit: int = 50
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class EventQuery:
    """`after` and `up_to` bound the seq: after < seq <= up_to. `max_bytes` as in TaskQuery."""

    owner: str | None
    after: int = 0
    up_to: int | None = None
    types: tuple[str, ...] | None = None
    task_id: str | None = None
    limit: int = 100
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    owner: str | None
    subscription_id: str | None = None
    task_id: str | None = None
    status: str | None = None
    before: int | None = None
    limit: int = 50


class TaskStore(Protocol):
    async def add(self, task: Task, idempotency: Idempotency | None) -> tuple[Task, bool]:
        """Store it with its `task.queued`; returns the first task and True when the key was used before.

        Raises IdempotencyMismatch, Unavailable.
        """
        ...

    async def repeated(self, owner: str, idempotency: Idempotency) -> Task | None:
        """The task that was stored with this key. Raises IdempotencyMismatch, Unavailable."""
        ...

    async def get(self, task_id: str) -> Task | None: ...

    async def find(self, query: TaskQuery) -> Rows[Task]:
        """Newest first."""
        ...

    def change(self, name: Point, task_id: str, decide: Decide, call: Call | None = None) -> Awaitable[Task | None]:
        """Decide, write the task, its event and what must be delivered in one transaction.

        Returns the task as it is afterwards, None when there is no such task. `name` is the commit point's.
        """
        ...


class EventStore(Protocol):
    async def after(self, query: EventQuery) -> Rows[Event]:
        """Oldest first."""
        ...

    async def latest(self, query: EventQuery) -> list[Event]:
        """Newest first."""
        ...

    async def last_seq(self) -> int: ...

    async def seq_at(self, moment: int) -> int:
        """The seq of the last event before `moment`, 0 when there is none."""
        ...


class SubscriptionStore(Protocol):
    async def add(self, subscription: Subscription, limit: int | None = None) -> None:
        """Raises Conflict when its owner has `limit` subscriptions already."""
        ...

    async def get(self, subscription_id: str) -> Subscription | None: ...

    async def find(self, owner: str | None, before: str | None = None, limit: int | None = None) -> list[Subscription]:
        """Newest first, those with an id below `before`."""
        ...

    async def change(
        self, subscription_id: str, decide: Callable[[Subscription], tuple[Subscription, str | None] | None]
    ) -> Subscription | None:
        """Like TaskStore.change; the event is told to the owner's other subscriptions."""
        ...

    async def remove(self, subscription_id: str) -> bool: ...

    def known(self, subscription_id: str) -> Subscription | None:
        """From memory: every attempt asks."""
        ...


class DeliveryStore(Protocol):
    async def get(self, n: int) -> Delivery | None: ...

    async def find(self, query: DeliveryQuery) -> list[Delivery]:
        """Newest first."""
        ...

    async def retry(self, n: int, now: int) -> Delivery | None:
        """Pending and due now, with a fresh count of tries."""
        ...

    async def ping(self, worker: int, subscription: Subscription, now: int) -> Delivery:
        """A stored `ping` event with one delivery that the caller attempts; nobody else is told."""
        ...


class CallStore(Protocol):
    async def note(self, call: Call) -> None: ...

    async def find(
        self, result: str | None, task_id: str | None, before: int | None, limit: int
    ) -> list[dict[str, Any]]: ...


class RetentionStore(Protocol):
    async def remove_tasks(self, before: int, after: str, limit: int) -> str | None:
        """Look at the next `limit` old tasks after the id `after`: those finished before `before` (ms) go, with their
        events and deliveries, unless one of these is still tried. The last id looked at; None: there was none."""
        ...

    async def remove_leftovers(self, before: int, keys_before: int, limit: int) -> int:
        """Old events without a task, old idempotency keys, calls beyond those that are kept; how many rows went."""
        ...


@dataclass(slots=True)
class Observers:
    """`event` is called with every event after its commit, in order of seq, whichever process stored it; `elsewhere`
    before that with those of other processes. Of this process alone: `commit` with the seconds of each commit, `finish`
    after it with the tasks that it finished."""

    event: list[Callable[[Event], None]] = field(default_factory=list)
    elsewhere: list[Callable[[Event], None]] = field(default_factory=list)
    commit: list[Callable[[float], None]] = field(default_factory=list)
    finish: list[Callable[[Sequence[Task]], None]] = field(default_factory=list)


class Store(Protocol):
    """One database. The parts in `ports.work` are what workers claim."""

    tasks: TaskStore
    events: EventStore
    subscriptions: SubscriptionStore
    deliveries: DeliveryStore
    replays: ReplayStore
    calls: CallStore
    retention: RetentionStore
    workers: WorkerStore
    lanes: LaneStore
    submits: SubmitStore
    checks: CheckStore
    queue: DeliveryQueue
    copies: Copies
    insight: InsightStore
    metrics: MetricsStore
    clock: ClockStore
    observers: Observers
    # Where files that come inline are kept with everything else; None: not here.
    inline_files: InlineFiles | None

    def hand_over(self, taker: DeliveryTaker) -> None:
        """From now on fresh deliveries are offered to `taker` in memory."""
        ...

    async def secret_key(self, make: Callable[[], str]) -> str:
        """The secret key of an installation without SECRET_KEY; kept, so that callbacks outlive a restart."""
        ...

    def trouble(self) -> str | None:
        """What is wrong with the store as far as this process knows, in a few words; None: nothing."""
        ...

    async def ping(self) -> None:
        """Raises Unavailable when the store does not answer or cannot be written."""
        ...

    async def close(self) -> None: ...
