"""Providers: pure functions on one side, one thin sender on the other."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.core.result import Failure
from service.core.task import Task, Update


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
    """`received_at` in milliseconds: a `Retry-After` that is a date counts from there."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    received_at: int = 0


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
    """Not accepted because of load: no failure, try again after `retry_after` seconds (None: not said)."""

    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Unclear:
    """The provider may have the task. Never sent again by itself."""

    reason: str


Answer = Accepted | Rejected | Busy | Unclear


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

    def __init__(self, status: int, result: str, detail: str) -> None:
        super().__init__(detail)
        # Set where the token is good: it says whose callback address was called.
        self.task_id: str | None = None
        self.status = status
        self.result = result
        self.detail = detail


class Provider(Protocol):
    """One provider account: task to request, answer to update, callback to update. Pure: no I/O, no clock.

    Everything read from the provider is cut clean before it is returned: no key, no webhook secret in any Update.
    """

    name: str
    max_inflight: int

    def prepare(self, task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> Prepared:
        """Check what a caller sent. Raises ValidationFailed with every fault and its pointer."""
        ...

    def streams(self, task: Task) -> bool:
        """True where no callback exists and the service must hold the answer's stream itself."""
        ...

    def submit_request(self, task: Task, callback: Callback) -> ProviderRequest: ...

    def read_answer(self, task: Task, callback: Callback, reply: ProviderReply) -> Answer: ...

    def authenticate(self, headers: Mapping[bytes, bytes], secrets: Sequence[str]) -> None:
        """Raise CallbackRefused(401) before the body is read, when a header is what proves the sender.

        Any of the secrets will do: SECRET_KEY may have been rotated. Names of `headers` are in lower case.
        """
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

    def text_so_far(self) -> str:
        """For people who watch: the end of the text that came, clean of keys and inline pictures."""
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
