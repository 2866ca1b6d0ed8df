"""What one operation of the API takes and returns: its route and its part of /openapi.json are built from this."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from service.core.event import EVENT_TYPES
from service.web.requests import LARGEST_PAGE

JSON = "application/json"
STREAM = "text/event-stream"
HIGHEST_SEQ = 2**53
# Problem statuses of any call with a key, those that a path parameter adds, and those that a body adds.
KEYED = (401, 422, 429, 503)
BODY = (400, 408, 413, 415)


@dataclass(frozen=True, slots=True)
class Parameter:
    """`schema` is JSON Schema; `many` means a comma-separated list. A query name that ends in `.KEY` takes any KEY."""

    name: str
    schema: dict[str, object]
    about: str
    place: Literal["query", "header", "path"] = "query"
    many: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """`responses`: status to the schema of its body under schemas/api/ (None: no body, or none that is JSON).

    `problems`: statuses whose body is a problem document. `access`: with an API key, with an admin's, with a key or a
    signed link (`?token=`), or open to all.
    """

    method: str
    path: str
    summary: str
    responses: dict[int, str | None]
    problems: tuple[int, ...] = ()
    about: str = ""
    body: str | None = None
    parameters: tuple[Parameter, ...] = ()
    headers: dict[int, tuple[str, ...]] | None = None
    access: Literal["key", "admin", "link", "open"] = "key"
    media: tuple[str, ...] = (JSON,)


Handler = Callable[[Request], Awaitable[Response]]
Endpoint = tuple[Operation, Handler]

# --- parameters that several operations share ---

TEXT: dict[str, object] = {"type": "string"}
TYPES: dict[str, object] = {"type": "array", "minItems": 1, "items": {"enum": list(EVENT_TYPES)}}
SEQ: dict[str, object] = {"type": "integer", "minimum": 0, "maximum": HIGHEST_SEQ}
LIMIT = Parameter(
    "limit", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}, "Page size; pages may be shorter"
)
CURSOR = Parameter("cursor", TEXT, "The next_cursor of the previous page")
TASK = Parameter("task_id", TEXT, "Only those of this task")
AFTER = Parameter("after", SEQ, "Only events with a larger seq")
LAST_EVENT_ID = Parameter(
    "Last-Event-ID", SEQ, "The id of the last event received; browsers send it when they reconnect", "header"
)
LAST_EVENT_ID_QUERY = Parameter("lastEventId", SEQ, "The same, for clients that cannot set the header")
ONLY_TYPES = Parameter("types", TYPES, "Only events of these types, separated by commas", many=True)
