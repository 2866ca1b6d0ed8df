"""The ASGI application: callback doors first, then the route table built from the operations."""

from collections.abc import Awaitable, Sequence

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core.errors import CallbridgeError, NotFound, Unavailable
from service.web.auth import Keys, caller_of
from service.web.budget import Budget
from service.web.cors import OpenToOrigins, preflight
from service.web.door import PREFIX, Door
from service.web.operations.operation import Endpoint, Handler, Operation
from service.web.request_log import RequestLog
from service.web.requests import ClientGone, check_query, on_client_gone
from service.web.responses import on_callbridge_error, on_http_exception, on_unknown_fault, problem, within

KEYED_PREFIX = "/v1/"
# Bytes of large responses not yet read: of all callers together, and of one.
LARGE_RESPONSES = 32 * 1024 * 1024, 8 * 1024 * 1024
HEALTH_PATHS = ("/healthz", "/readyz")


class Application:
    """Callbacks bypass middleware and route table: each costs more than reading the callback itself."""

    def __init__(self, door: Door, site: ASGIApp) -> None:
        self.door = door
        self.site = site

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            return self.door(scope, receive, send)
        return self.site(scope, receive, send)


class EssentialOnly:
    """Serves connections opened while file descriptors are scarce: callbacks and health checks only."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(PREFIX) or scope["path"] in HEALTH_PATHS:
            await self.app(scope, receive, send)
            return
        error = Unavailable("Too many connections are open; try again later.", retry_after=5)
        await problem(error, {"connection": "close"})(scope, receive, send)


def create_app(door: Door, keys: Keys, endpoints: Sequence[Endpoint], pages: Sequence[BaseRoute] = ()) -> Application:
    """`pages` come after the API's routes and check their callers themselves."""
    responses = Budget(*LARGE_RESPONSES)
    site = Starlette(
        exception_handlers={
            CallbridgeError: on_callbridge_error,
            ClientGone: on_client_gone,
            HTTPException: on_http_exception,
            Exception: on_unknown_fault,
        },
    )
    site.router = RouteTable(
        [*(route for endpoint in endpoints for route in _routes(*endpoint, keys, responses)), *pages], keys
    )
    return Application(door, RequestLog(site))


class RouteTable(Router):
    """405 lists the methods of every route on the path; without a key everything under /v1 is 401."""

    def __init__(self, routes: Sequence[BaseRoute], keys: Keys) -> None:
        # A trailing slash is a different address: a redirect would drop the body.
        super().__init__(routes, redirect_slashes=False)
        self.keys = keys

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().app(scope, receive, send)
        except HTTPException as error:
            if f"{scope['path']}/".startswith(KEYED_PREFIX):
                self.keys.caller(Headers(scope=scope))
            if error.status_code == 405:
                on_path = [route for route in self.routes if route.matches(scope)[0] is not Match.NONE]
                methods = {method for route in on_path if isinstance(route, Route) for method in route.methods or ()}
                error.headers = {"Allow": ", ".join(sorted(methods))}
            raise


def _routes(operation: Operation, handler: Handler, keys: Keys, responses: Budget) -> list[Route]:
    names = {item.name for item in operation.parameters if item.place == "query"}
    prefixes = tuple(name.removesuffix("KEY") for name in names if name.endswith(".KEY"))
    if operation.access == "link":
        names.add("token")

    async def endpoint(request: Request) -> Response:
        """Check the key and the query before the rest of the request is read."""
        if operation.access in ("key", "admin"):
            caller = request.scope["caller"] = keys.caller(request.headers)
            if operation.access == "admin" and not caller.admin:
                # Like somebody else's object: what a key may not see does not exist to it.
                raise NotFound("This address needs an admin key.")
        if operation.access != "open":
            check_query(request, names, prefixes)
            if operation.access != "link":
                return await within(responses, caller_of(request).name, await handler(request))
        return await handler(request)

    if operation.access != "link":
        return [Route(operation.path, endpoint, methods=[operation.method.upper()])]
    cors = [Middleware(OpenToOrigins)]
    return [
        Route(operation.path, endpoint, methods=[operation.method.upper()], middleware=cors),
        Route(operation.path, preflight, methods=["OPTIONS"], middleware=cors),
    ]
