"""Events over HTTP: the list, the latest, and the streams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.core.caller import Caller
from service.core.errors import Unauthorized, bad_query
from service.core.event import EVENT_TYPES, FINISHING_EVENTS, STORED_EVENT, TASK_EVENTS, Event
from service.flows.browse import Browser
from service.ports.queries import EventQuery
from service.web.api.stream import EventStream, Feed
from service.web.auth import Keys, caller_of
from service.web.operations import events as operations
from service.web.operations.operation import HIGHEST_SEQ, STREAM, Endpoint
from service.web.requests import RESUME, limit_of, one_of, plain, types_of, whole_number
from service.web.responses import Json
from service.wire.tokens import BadToken, Tokens


@dataclass(frozen=True, slots=True)
class EventRoutes:
    feed: Feed
    browser: Browser
    keys: Keys
    tokens: Tokens

    def endpoints(self) -> list[Endpoint]:
        return [
            (operations.OF_TASK, self.of_task),
            (operations.LIST, self.list),
            (operations.LATEST, self.latest),
        ]

    async def list(self, request: Request) -> Response:
        caller = caller_of(request)
        types = types_of(request, EVENT_TYPES)
        task_id = plain(request, "task_id")
        resume = _resume_after(request)
        if STREAM in request.headers.get("accept", ""):
            query = EventQuery(caller.owner, after=resume or 0, types=types, task_id=task_id)
            return EventStream(self.feed, query, resume)
        after = resume or 0
        found = await self.browser.events(caller, types, task_id, after, limit_of(request, 100))
        return Json(b'{"data":%b,"next_after":%d}' % (array(found), found[-1].seq if found else after))

    async def latest(self, request: Request) -> Response:
        types = types_of(request, EVENT_TYPES)
        task_id = plain(request, "task_id")
        return Json(array(await self.browser.latest_events(caller_of(request), types, task_id, limit_of(request))))

    async def of_task(self, request: Request) -> Response:
        task_id = request.path_params["id"]
        task = await self.browser.task(self._caller(request, task_id), task_id)
        resume = _resume_after(request)
        last = _LASTS[one_of(request, "until", tuple(_LASTS)) or "finished"]
        if task.finished and resume is not None:
            store = self.feed.store
            found = await store.events.latest(EventQuery(None, types=last.types, task_id=task.id, limit=1))
            over = not found or (last.is_last(found[0]) and found[0].seq <= resume)
            if over and resume <= await store.events.last_seq():
                # A browser's EventSource stops at this status.
                return Response(status_code=204)
        query = EventQuery(None, after=resume or 0, types=last.carried, task_id=task.id)
        return EventStream(self.feed, query, resume or 0, last.is_last)

    def _caller(self, request: Request, task_id: str) -> Caller:
        token = request.query_params.get("token")
        if token is None:
            return self.keys.caller(request.headers)
        try:
            linked = self.tokens.read_stream(token)
        except BadToken:
            linked = None
        if linked != task_id:
            raise Unauthorized("This stream link has expired or is not valid; get the task again for a fresh one.")
        return Caller("", admin=True)  # for this task only: `of_task` reads no other


class _Last(NamedTuple):
    """Where the stream of one task ends. `types` may be its last event; `carried` are all the types it shows."""

    types: tuple[str, ...]
    carried: tuple[str, ...] | None
    is_last: Callable[[Event], bool]


def _is_finish(event: Event) -> bool:
    return event.type in FINISHING_EVENTS


def _is_stored(event: Event) -> bool:
    """The event after which no file of the task is copied; a finish without files is one."""
    if event.type == STORED_EVENT:
        return True
    if event.type not in FINISHING_EVENTS:
        return False
    output = orjson.loads(event.body)["data"]["output"]
    return not output or not any((file.get("copy") or {}).get("status") == "pending" for file in output["files"])


_LASTS = {
    "finished": _Last(FINISHING_EVENTS, tuple(name for name in TASK_EVENTS if name != STORED_EVENT), _is_finish),
    "stored": _Last((*FINISHING_EVENTS, STORED_EVENT), None, _is_stored),
}


def _resume_after(request: Request) -> int | None:
    """The seq to resume after. Last-Event-ID wins: a browser that reconnects repeats the original address."""
    # Some clients append theirs to the page's: "2, 22".
    header = request.headers.get("last-event-id", "").rpartition(",")[2].strip()
    if header:
        if not (header.isascii() and header.isdigit()) or len(header) > 19 or int(header) > HIGHEST_SEQ:
            raise bad_query("Last-Event-ID", "must be the id of an event of this stream")
        return int(header)
    name = RESUME if request.query_params.get(RESUME) else "after"
    return whole_number(request, name, None, 0, HIGHEST_SEQ)


def array(events: Sequence[Event]) -> bytes:
    """The stored bytes, joined: a list shows exactly what the webhook sent."""
    return b"[%b]" % b",".join(event.body for event in events)
