"""What the flows need from the world, as Protocols. Rooms implement them; `main` joins the two."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from service.core.delivery import Attempt, Delivery
from service.core.event import Event
from service.core.points import Point
from service.core.subscription import Subscription
from service.core.task import Task, Update

# --- providers: pure functions on one side, one thin sender on the other ---


@dataclass(frozen=True, slots=True)
class Callback:
    """How the provider reaches us about one task: the address holds the token, the secret is of that task only."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """`body` None sends no body. Header values may hold keys: never log a request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ProviderReply:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the task (or has finished it already)."""

    update: Update


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider surely does not have the task; `error` as in `core.task.failure`."""

    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Busy:
    """Not accepted because of load: no failure, try again after `retry_after` seconds (None: not said)."""

    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Unclear:
    """The provider may have the task. Never sent again by itself."""

    reason: str


Answer = Accepted | Rejected | Busy | Unclear


class CallbackRefused(Exception):
    """A callback that is not for us to believe; `result` names it in the audit, `status` answers it."""

    def __init__(self, status: int, result: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.result = result
        self.detail = detail


class Provider(Protocol):
    """One provider account: task to request, answer to update, callback to update. Pure: no I/O, no clock.

    Everything read from the provider is cut clean before it is returned: no key, no webhook secret in any Update.
    """

    name: str
    max_inflight: int

    def check(self, task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> list[str]:
        """Raise ValidationFailed with pointers, or return warnings about things the published lists do not know."""
        ...

    def without_ours(self, input: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both with the fields that we fill emptied: a key or address that came with them is not kept."""
        ...

    def streams(self, task: Task) -> bool:
        """True where no callback exists and the service must hold the answer's stream itself."""
        ...

    def submit_request(self, task: Task, callback: Callback) -> ProviderRequest: ...

    def read_answer(self, task: Task, callback: Callback, reply: ProviderReply) -> Answer: ...

    def authenticate(self, headers: Mapping[str, str], callback: Callback) -> None:
        """Raise CallbackRefused(401) before the body is read, when a header is what proves the sender."""
        ...

    def read_callback(self, task_id: str, body: bytes) -> Update:
        """Raise CallbackRefused: 400 `malformed`, 401 `bad_track_id`. The update carries the provider's task id."""
        ...

    def fetch_request(self, task: Task) -> ProviderRequest | None:
        """How to ask about a task whose provider id is known; None where it cannot be asked."""
        ...

    def read_fetch(self, task: Task, reply: ProviderReply) -> Update | None:
        """None: the answer says nothing about the task (lookup failed, trouble at the provider)."""
        ...

    def cancel_request(self, task: Task) -> ProviderRequest | None: ...

    def read_cancel(self, task: Task, reply: ProviderReply) -> str | None:
        """None when the provider canceled; else the sentence in which it refused."""
        ...

    def history_request(self, task: Task, page: int) -> ProviderRequest | None:
        """How to look for a task whose submit answer was lost; None where the provider keeps no history."""
        ...

    def find_in_history(self, task: Task, callback: Callback, reply: ProviderReply) -> Update | None: ...

    def stream_reader(self, task: Task) -> "StreamReader":
        """For tasks where `streams` is true."""
        ...


class StreamReader(Protocol):
    """Collects one held stream. Bytes in, progress out; the end is read once, from everything that came."""

    def feed(self, chunk: bytes) -> Update | None:
        """Progress so far when it changed (status PROCESSING with `progress`), else None. Chunks are cut anywhere."""
        ...

    def finish(self, complete: bool) -> Update:
        """The finishing update. `complete` False: the line broke before the end was seen."""
        ...


class SubmitNotSent(Exception):
    """The request surely never left: DNS, refused, TLS. May be sent again. The text holds no secret."""


class SubmitUnclear(Exception):
    """The request left, or may have, and no whole answer came. Never sent again by itself."""


class Sender(Protocol):
    """The one HTTP client for provider calls. Raises SubmitNotSent or SubmitUnclear."""

    async def send(self, request: ProviderRequest) -> ProviderReply: ...

    def stream(self, request: ProviderRequest) -> AsyncIterator[ProviderReply | bytes]:
        """First a ProviderReply (its body empty when status is 200), then the body in chunks."""
        ...


# --- the store ---


@dataclass(frozen=True, slots=True)
class Idempotency:
    """`fingerprint` is the hash of the body: the same key with another body is refused."""

    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One call at a provider door, for the audit. `body` is redacted and capped before it gets here."""

    provider: str
    task_id: str | None
    result: str
    status_code: int
    detail: str | None = None
    body: str | None = None


@dataclass(frozen=True, slots=True)
class TaskQuery:
    owner: str | None
    status: str | None = None
    provider: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class EventQuery:
    """`after` and `up_to` bound the seq: after < seq <= up_to."""

    owner: str | None
    after: int = 0
    up_to: int | None = None
    types: tuple[str, ...] | None = None
    task_id: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    owner: str | None
    subscription_id: str | None = None
    task_id: str | None = None
    status: str | None = None
    before: int | None = None
    limit: int = 50


# A decision about a task, made inside the transaction: the moves it makes, each the task after it and the event to
# tell (None: tell nobody). Empty leaves everything as it is. It must be pure; it may raise to refuse.
Step = tuple[Task, str | None]
Decision = Sequence[Step]
Decide = Callable[[Task], Decision]


class TaskStore(Protocol):
    async def add(self, task: Task, idempotency: Idempotency | None) -> tuple[Task, bool]:
        """Store it with its `task.queued`; returns the first task and True when the key was used before.

        Raises IdempotencyMismatch, Unavailable.
        """
        ...

    async def get(self, task_id: str) -> Task | None: ...

    async def find(self, query: TaskQuery) -> list[Task]:
        """Newest first."""
        ...

    async def change(self, name: Point, task_id: str, decide: Decide, call: Call | None = None) -> Task | None:
        """Decide, write the task, its event and what must be delivered in one transaction.

        Returns the task as it is afterwards, None when there is no such task. `name` is the commit point's.
        """
        ...

    async def claim_queued(self, provider: str, owner: str, limit: int, now: int) -> list[Task]:
        """Mark the oldest waiting tasks as being sent (`sent_at`, `attempts` + 1). Two callers never get the same."""
        ...

    async def queued_owners(self, provider: str) -> list[str]: ...

    async def at_provider(self, provider: str) -> int:
        """How many tasks the provider has, those being sent included."""
        ...

    async def perhaps_sent(self) -> list[Task]:
        """Tasks that were being sent when the process ended."""
        ...

    async def held(self, providers: Sequence[str]) -> list[Task]:
        """Every task at one of these providers or being sent there."""
        ...

    async def due_checks(self, provider: str, now: int, limit: int) -> list[Task]: ...

    async def check_all_open(self, now: int) -> None:
        """Once at start: every task at a provider is due for a check now."""
        ...

    async def overdue(self, now: int, limit: int) -> list[Task]: ...

    async def next_wake(self) -> int | None:
        """When the next check or deadline is due; None: nothing is open."""
        ...


class EventStore(Protocol):
    async def after(self, query: EventQuery) -> list[Event]:
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
    async def add(self, subscription: Subscription) -> None: ...

    async def get(self, subscription_id: str) -> Subscription | None: ...

    async def find(self, owner: str | None) -> list[Subscription]: ...

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
    async def claim(self, lane: str, now: int, limit: int, lease: int) -> list[Delivery]:
        """Due deliveries of a lane in the order of their first attempts, leased until now + `lease` (ms)."""
        ...

    async def record(self, delivery: Delivery) -> None:
        """How an attempt went; ends the lease."""
        ...

    async def next_due(self, lane: str) -> int | None: ...

    async def lanes(self) -> list[str]:
        """Lanes with something pending."""
        ...

    async def get(self, n: int) -> Delivery | None: ...

    async def find(self, query: DeliveryQuery) -> list[Delivery]: ...

    async def retry(self, n: int, now: int) -> Delivery | None:
        """Pending and due now, with a fresh count of tries."""
        ...

    async def ping(self, subscription: Subscription, now: int) -> Delivery:
        """A stored `ping` event with one delivery that is in the caller's hand."""
        ...

    async def replay(self, subscription: Subscription, events: Sequence[Event], now: int) -> int: ...

    async def bury(self, lane: str, limit: int) -> int:
        """Make pending deliveries of a removed subscription dead, `limit` at a time."""
        ...


class CallStore(Protocol):
    async def note(self, call: Call) -> None: ...

    async def find(
        self, result: str | None, task_id: str | None, before: int | None, limit: int
    ) -> list[dict[str, Any]]: ...


class Store(Protocol):
    tasks: TaskStore
    events: EventStore
    subscriptions: SubscriptionStore
    deliveries: DeliveryStore
    calls: CallStore

    async def ping(self) -> None:
        """Raises Unavailable when the store does not answer or cannot be written."""
        ...

    async def tidy(self, tasks_before: int, keys_before: int, limit: int) -> int:
        """Remove old finished tasks with their events and deliveries, and old idempotency keys; how many rows went."""
        ...

    async def close(self) -> None: ...


class Media(Protocol):
    def find(self, token: str) -> tuple[Path, str] | None:
        """The file behind a signed address, and its content type."""
        ...


class Listener(Protocol):
    """Told by the store after each commit, in order."""

    def wants(self, lane: str) -> bool:
        """May a fresh delivery of this lane be handed over in memory? False: it waits on disk."""
        ...

    def told(self, event: Event) -> None: ...

    def handed(self, delivery: Delivery) -> None: ...


# --- outlets ---


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt went; `retry_after` in seconds when the receiver asked for a pause."""

    attempt: Attempt
    retry_after: float | None = None


class Outlet(Protocol):
    async def post(
        self, url: str, event_id: str, body: bytes, secrets: Sequence[str], headers: Mapping[str, str]
    ) -> Outcome:
        """One signed POST. Never raises for what the target does."""
        ...

    def check(self, url: str) -> None:
        """Raise ValueError with a sentence when no delivery may ever go to `url`."""
        ...
