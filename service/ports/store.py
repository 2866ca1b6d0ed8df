"""The store, as its parts. Those that workers claim from are in `ports.work`."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from service.core.delivery import Delivery
from service.core.event import Event
from service.core.points import Point
from service.core.subscription import Subscription
from service.core.task import Task
from service.core.transitions import Decide
from service.ports.callbacks import CallbackLog, ReceivedCallback
from service.ports.clock import ClockStore
from service.ports.copies import Copies
from service.ports.files import InlineFiles
from service.ports.insight import InsightStore
from service.ports.metrics import MetricsStore
from service.ports.observers import Observers
from service.ports.queries import DeliveryQuery, EventQuery, Idempotency, Rows, TaskQuery
from service.ports.replays import ReplayStore
from service.ports.work import CheckStore, DeliveryQueue, DeliveryTaker, LaneStore, SubmitStore, WorkerStore


class TaskStore(Protocol):
    async def add(self, task: Task, idempotency: Idempotency | None) -> tuple[Task, bool]:
        """Store it with its `task.queued`; returns the earlier task and True when the key was used before.

        Raises IdempotencyMismatch, Unavailable.
        """
        ...

    async def repeated(self, owner: str, idempotency: Idempotency) -> Task | None:
        """The task stored with this key. Raises IdempotencyMismatch, Unavailable."""
        ...

    async def get(self, task_id: str) -> Task | None: ...

    async def find(self, query: TaskQuery) -> Rows[Task]:
        """Newest first."""
        ...

    def change(
        self, name: Point, task_id: str, decide: Decide, callback: ReceivedCallback | None = None
    ) -> Awaitable[Task | None]:
        """Decide, and write the task, its events and their deliveries in one transaction.

        Returns the task afterwards, None when there is no such task. `name` is that of the commit point.
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

    async def find(
        self,
        owner: str | None,
        before: str | None = None,
        limit: int | None = None,
        enabled: bool | None = None,
    ) -> list[Subscription]:
        """Newest first, those with an id below `before`. `enabled` None: both."""
        ...

    async def change(
        self, subscription_id: str, decide: Callable[[Subscription], tuple[Subscription, str | None] | None]
    ) -> Subscription | None:
        """Like TaskStore.change; the event goes to the owner's other subscriptions."""
        ...

    async def remove(self, subscription_id: str) -> bool: ...

    def known(self, subscription_id: str) -> Subscription | None:
        """From memory, because every attempt needs it."""
        ...


class DeliveryStore(Protocol):
    async def get(self, n: int) -> Delivery | None: ...

    async def find(self, query: DeliveryQuery) -> list[Delivery]:
        """Newest first."""
        ...

    async def retry(self, n: int, now: int) -> Delivery | None:
        """Make it pending and due now, with its tries counted from zero."""
        ...

    async def ping(self, worker: int, subscription: Subscription, now: int) -> Delivery:
        """Store a `ping` event with one delivery, which the caller attempts. It goes to nobody else."""
        ...


class RetentionStore(Protocol):
    @property
    def step(self) -> int:
        """A `limit` for this engine that delays no other work."""
        ...

    async def remove_tasks(self, before: int, after: str, limit: int) -> str | None:
        """Go through the next `limit` old tasks after the id `after`, and remove those that finished before `before`
        (ms), with their events and deliveries, unless a delivery is still pending. The last id, None at the end."""
        ...

    async def remove_leftovers(self, before: int, keys_before: int, limit: int) -> int:
        """Remove old events without a task, old idempotency keys, and callbacks beyond the limit of the log. Returns
        how many rows."""
        ...


class Store(Protocol):
    """One database."""

    tasks: TaskStore
    events: EventStore
    subscriptions: SubscriptionStore
    deliveries: DeliveryStore
    replays: ReplayStore
    callbacks: CallbackLog
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
    # None when inline files are not kept in the database.
    inline_files: InlineFiles | None

    def hand_over(self, taker: DeliveryTaker) -> None:
        """From now on new deliveries are offered to `taker` in memory."""
        ...

    async def secret_key(self, make: Callable[[], str]) -> str:
        """The secret of this database: the one stored, or else what `make` returns, stored from now on."""
        ...

    def trouble(self) -> str | None:
        """What is wrong with the store as far as this process knows, in a few words; None when all is well."""
        ...

    async def ping(self) -> None:
        """Raises Unavailable when the store does not respond or cannot be written."""
        ...

    async def close(self) -> None: ...
