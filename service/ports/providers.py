"""Providers: pure readers on one side, one client that sends for each of them on the other."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from service.core.callback import CallbackResult
from service.core.result import Failure
from service.core.task import Task
from service.core.update import Update

T = TypeVar("T")
Operation = Literal["submit", "stream", "fetch", "history", "cancel"]
# Larger bodies hold inline pictures or megabytes of JSON: read them in a thread, not in the event loop.
READ_IN_THREAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class CallbackAddress:
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
class ProviderResponse:
    """`received_at` in milliseconds: a `Retry-After` that is a date counts from there."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    received_at: int = 0


@dataclass(frozen=True, slots=True)
class Exchange(Generic[T]):
    """A request, and how its response is read. `read` is pure and raises nothing."""

    operation: Operation
    request: ProviderRequest
    read: Callable[[ProviderResponse], T]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the task (or has finished it already)."""

    update: Update


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider surely does not have the task."""

    error: Failure


@dataclass(frozen=True, slots=True)
class Busy:
    """Not accepted because of load. Not a failure: try again after `retry_after` seconds (None if unknown)."""

    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Unclear:
    """The provider may have the task. Never sent again by itself."""

    reason: str


SubmitOutcome = Accepted | Rejected | Busy | Unclear


@dataclass(frozen=True, slots=True)
class Prepared:
    """Input and config as they are stored, shown and sent: without keys, hooks of the caller and absent values.

    `warnings` are about what was taken as it is although the provider documents something else.
    """

    input: dict[str, Any]
    config: dict[str, Any]
    warnings: tuple[str, ...]


class CallbackRefused(Exception):
    """A callback that is not for us to believe; `result` names it in the audit, `status` answers it."""

    def __init__(self, status: int, result: CallbackResult, detail: str) -> None:
        super().__init__(detail)
        # Set where the token is good: it says whose callback address was called.
        self.task_id: str | None = None
        self.status = status
        self.result = result
        self.detail = detail


class Provider(Protocol):
    """One provider account towards callers and callbacks. Pure: no I/O, no clock.

    Everything read from the provider is cut clean before it is returned: no key, no webhook secret in any Update.
    `routes` names task types that the provider serves apart from the others: a busy route rests alone.
    """

    name: str
    max_inflight: int
    routes: Mapping[str, frozenset[str]]

    def prepare(self, task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> Prepared:
        """Check what a caller sent. Raises ValidationFailed with every fault and its pointer."""
        ...

    def authenticate(self, headers: Mapping[bytes, bytes], secrets: Sequence[str]) -> None:
        """Raise CallbackRefused(401) before the body is read, when a header is what proves the sender.

        Any of the secrets will do: SECRET_KEY may have been rotated. Names of `headers` are in lower case.
        """
        ...

    def read_callback(self, task_id: str, body: bytes) -> Update:
        """Raise CallbackRefused: 400 `malformed`, 401 `bad_track_id`. The update carries the provider's task id."""
        ...


class ProviderApi(Protocol):
    """What the provider can be asked, as requests and readers. Pure too."""

    def submit(self, task: Task, callback: CallbackAddress) -> Exchange[SubmitOutcome]: ...

    def stream_reader(self, task: Task) -> "StreamReader | None":
        """Where no callback exists and the service must read the response's stream itself; else None."""
        ...

    def fetch(self, task: Task) -> Exchange[Update | None] | None:
        """None where the task cannot be asked about. An update of None says nothing: trouble at the provider."""
        ...

    def cancel(self, task: Task) -> Exchange[str | None] | None:
        """None where tasks cannot be canceled. Read as None when it was canceled, else as the reason why not."""
        ...

    def search(self, task: Task, is_ours: Callable[[str], bool], page: int) -> Exchange[Update | None] | None:
        """Look for a task whose submit answer was lost. `is_ours` knows the task's callback addresses."""
        ...

    def list_tasks(self, since: int, until: int, page: int) -> Exchange[list[Update]] | None:
        """Tasks sent between two moments (ms), a page at a time, as far as the list tells how they stand."""
        ...


class StreamReader(Protocol):
    """Collects one held stream. Bytes in, progress out; the end is read once, from everything that came."""

    def feed(self, chunk: bytes) -> Update | None:
        """Progress so far when it changed (status PROCESSING with `progress`), else None. Chunks are cut anywhere."""
        ...

    def text_so_far(self) -> str:
        """For people who watch: the end of the text that came, clean of keys and inline pictures."""
        ...

    def finish(self, complete: bool) -> Update:
        """The finishing update. `complete` False: the line broke before the end was seen."""
        ...


class SubmitNotSent(Exception):
    """The request surely never left: DNS, refused, TLS. May be sent again. The text holds no secret."""


class SubmitUnclear(Exception):
    """The request left, or may have, and no whole response came. Never sent again by itself."""


class ProviderBusy(Exception):
    """A request was refused because of load; `retry_after` in seconds, None if unknown."""

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream that the provider has begun to answer with. Reading `chunks` raises SubmitUnclear when it breaks."""

    reader: StreamReader
    chunks: AsyncGenerator[bytes, None]


class SubmitClient(Protocol):
    """Sends tasks to one provider account. All methods raise SubmitNotSent and SubmitUnclear."""

    provider: Provider

    async def submit(self, task: Task, callback: CallbackAddress) -> SubmitOutcome: ...

    def streams(self, task: Task) -> bool: ...

    async def open(self, task: Task) -> SubmitOutcome | OpenStream:
        """For a task that streams: the stream, or the response that came instead."""
        ...


class CheckClient(Protocol):
    """Asks one provider account about tasks. All methods raise SubmitNotSent, SubmitUnclear and ProviderBusy."""

    provider: Provider

    async def fetch(self, task: Task) -> Update | None:
        """None when nothing was learned."""
        ...

    async def search(self, task: Task, is_ours: Callable[[str], bool]) -> Update | None:
        """Look for a task whose submit got no response; `is_ours` recognises its callback addresses."""
        ...

    async def list_tasks(self, tasks: Sequence[Task]) -> dict[str, Update]:
        """Updates of many tasks in a few requests; by provider id, those that were found."""
        ...


class ProviderClient(SubmitClient, CheckClient, Protocol):
    """Talks to one provider account."""

    async def cancel(self, task: Task) -> str | None:
        """None when the provider canceled, else why the task may run to its end there. Raises SubmitNotSent,
        SubmitUnclear."""
        ...
