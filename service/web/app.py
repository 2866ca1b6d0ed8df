"""The route table and what wraps it."""

from collections.abc import Awaitable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from starlette.types import Receive, Scope, Send

from service.core.errors import CallbridgeError
from service.web.auth import Authenticated, Keys
from service.web.door import PREFIX, Door
from service.web.requests import ClientGone, on_client_gone
from service.web.responses import on_callbridge_error, on_http_exception, on_unknown_fault


class Application:
    """Callbacks pass no middleware and no route table: each of those costs more than reading the call."""

    def __init__(self, door: Door, site: Starlette) -> None:
        self.door = door
        self.site = site

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            return self.door(scope, receive, send)
        return self.site(scope, receive, send)


class Table(Router):
    """A path with several routes: who comes with another method is told the methods of all of them."""

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().app(scope, receive, send)
        except HTTPException as error:
            if error.status_code == 405:
                fitting = [route for route in self.routes if route.matches(scope)[0] is not Match.NONE]
                methods = {method for route in fitting if isinstance(route, Route) for method in route.methods or ()}
                error.headers = {"Allow": ", ".join(sorted(methods))}
            raise


def create_app(door: Door, keys: Keys, open_routes: Sequence[Route], keyed_routes: Sequence[Route]) -> Application:
    """`keyed_routes` stand under /v1 and need an API key."""
    routes: list[BaseRoute] = [
        *open_routes,
        Mount("/v1", app=Authenticated(Table(list(keyed_routes), redirect_slashes=False), keys)),
    ]
    site = Starlette(
        routes=routes,
        exception_handlers={
            CallbridgeError: on_callbridge_error,
            ClientGone: on_client_gone,
            HTTPException: on_http_exception,
            Exception: on_unknown_fault,
        },
    )
    # A trailing slash is another address, not a redirect that drops the body.
    site.router.redirect_slashes = False

    return Application(door, site)
