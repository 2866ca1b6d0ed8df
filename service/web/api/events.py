"""Events over HTTP: the list, the latest, and the streams."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.core.errors import Unauthorized
from service.core.event import EVENT_TYPES, FINISHING_EVENTS, Event
from service.flows.hub import Hub
from service.ports import EventQuery, Store
from service.web.api.stream import EventStream
from service.web.api.tasks import owned_task
from service.web.auth import Caller, Keys, caller_of
from service.web.requests import bad_query, limit_of, plain, types_of, whole_number
from service.web.responses import Json
from service.wire.tokens import BadToken, Tokens

HIGHEST_SEQ = 2**53


@dataclass(frozen=True, slots=True)
class EventRoutes:
    store: Store
    hub: Hub
    keys: Keys
    tokens: Tokens

    def routes(self) -> list[Route]:
        return [
            Route("/events", self.list, methods=["GET"]),
            Route("/events/latest", self.latest, methods=["GET"]),
            # GET is answered by the open route before; this one makes other methods a 405.
            Route("/tasks/{id}/events", self.of_task, methods=["GET"]),
        ]

    def open_routes(self) -> list[Route]:
        """Not behind the key check: a signed link opens it too."""
        return [Route("/v1/tasks/{id}/events", self.of_task, methods=["GET"])]

    async def list(self, request: Request) -> Response:
        caller = caller_of(request)
        types = types_of(request, EVENT_TYPES)
        task_id = plain(request, "task_id")
        resume = self._resume(request)
        if "text/event-stream" in request.headers.get("accept", ""):
            return EventStream(
                self.store, self.hub, EventQuery(caller.owner, resume or 0, None, types, task_id), resume
            )
        limit = limit_of(request, 100)
        query = EventQuery(caller.owner, resume or 0, None, types, task_id, limit)
        found = await self.store.events.after(query)
        next_after = found[-1].seq if found else query.after
        return Json(b'{"data":%b,"next_after":%d}' % (array(found), next_after))

    async def latest(self, request: Request) -> Response:
        types = types_of(request, EVENT_TYPES)
        query = EventQuery(
            caller_of(request).owner, types=types, task_id=plain(request, "task_id"), limit=limit_of(request)
        )
        return Json(array(await self.store.events.latest(query)))

    async def of_task(self, request: Request) -> Response:
        task_id = request.path_params["id"]
        caller = self._caller(request, task_id)
        task = await owned_task(self.store, caller, task_id)
        resume = self._resume(request)
        query = EventQuery(None, resume or 0, None, None, task.id)
        if task.finished and resume is not None:
            last = await self.store.events.latest(EventQuery(None, 0, None, FINISHING_EVENTS, task.id, 1))
            if not last or last[0].seq <= resume:
                # Without the header a page of another origin takes it for trouble, and comes back for ever.
                return Response(status_code=204, headers={"access-control-allow-origin": "*"})
        # The link is for browsers, which may show a page of another origin; the token is all it opens.
        headers = [(b"access-control-allow-origin", b"*")] if "token" in request.query_params else []
        return EventStream(self.store, self.hub, query, resume or 0, ends=True, headers=headers)

    def _caller(self, request: Request, task_id: str) -> Caller:
        token = request.query_params.get("token")
        if token is None:
            return self.keys.caller(request.headers)
        try:
            opened = self.tokens.read_stream(token)
        except BadToken:
            opened = None
        if opened != task_id:
            raise Unauthorized("This stream link is not valid any more; read the task again for a fresh one.")
        return Caller("", admin=True)  # for this one task only: `of_task` reads no other

    def _resume(self, request: Request) -> int | None:
        """The seq after which to go on; the header wins, since the browser sends it on its own."""
        header = request.headers.get("last-event-id", "").strip()
        if header:
            if not (header.isascii() and header.isdigit()) or len(header) > 19 or int(header) > HIGHEST_SEQ:
                raise bad_query("Last-Event-ID", "must be the id of an event of this stream")
            return int(header)
        return whole_number(request, "after", None, 0, HIGHEST_SEQ)


def array(events: "list[Event]") -> bytes:
    """The stored bytes, joined: what a list shows is what the webhook sent."""
    return b"[%b]" % b",".join(event.body for event in events)
