"""What every page goes through: the origin check of a POST, the session, security headers, errors as pages."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import orjson
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.core.caller import Caller
from service.core.errors import CallbridgeError
from service.flows.turns import Turns
from service.web.page.forms import Form, query_form, read_form
from service.web.page.rendering import render
from service.web.page.sessions import SESSION_SECONDS, Sessions
from service.web.requests import Bodies, ClientGone
from service.web.responses import problem_headers

log = logging.getLogger("callbridge.page")

SESSION_COOKIE = "callbridge_session"
NOTICE_COOKIE = "callbridge_notice"
NOTICE_SECONDS = 60
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data: http: https:; media-src 'self' http: https:; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Not `no-referrer`: browsers then call the origin of our own forms `null`.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that the page after a redirect shows once. `secret_of` is the subscription whose secret it shows."""

    text: str
    good: bool = True
    secret_of: str | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of a signed-in person. `form` is the body of a POST, else the query."""

    request: Request
    caller: Caller
    form: Form
    notice: Notice | None

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])


@dataclass(frozen=True, slots=True)
class SeeOther:
    """Ends every POST: a redirect to a page."""

    location: str
    notice: Notice | None = None


Handler = Callable[[Visit], Awaitable[Response | SeeOther]]


@dataclass(frozen=True, slots=True)
class Gate:
    sessions: Sessions
    bodies: Bodies
    notices: URLSafeTimedSerializer = field(repr=False)
    # A page runs many queries: only a few pages of one caller are rendered at once.
    turns: Turns = field(default_factory=Turns)

    def get(self, path: str, handler: Handler) -> Route:
        async def in_turn(visit: Visit) -> Response | SeeOther:
            async with self.turns.take(visit.caller.name):
                return await handler(visit)

        return Route(path, self._signed_in(in_turn), methods=["GET"])

    def post(self, path: str, handler: Handler) -> Route:
        return Route(path, self._signed_in(handler), methods=["POST"])

    def open(self, path: str, method: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
        """Pages without a session: sign in and sign out."""

        async def endpoint(request: Request) -> Response:
            return await self._guarded(request, None, lambda: handler(request))

        return Route(path, endpoint, methods=[method])

    def _signed_in(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            caller = self.sessions.caller(request.cookies.get(SESSION_COOKIE))
            return await self._guarded(request, caller, lambda: self._visited(request, caller, handler))

        return endpoint

    async def _guarded(
        self, request: Request, caller: Caller | None, answer: Callable[[], Awaitable[Response]]
    ) -> Response:
        try:
            if request.method == "POST" and not from_same_origin(request):
                response = render("error.html", caller, 403, title="Refused", text=FOREIGN)
            else:
                response = await answer()
        except CallbridgeError as error:
            response = render("error.html", caller, error.status, title=error.title, text=error.detail)
            response.headers.update(problem_headers(error))
        except ClientGone:
            raise
        except Exception:
            log.exception("a page could not be rendered")
            response = render("error.html", caller, 500, title="Something went wrong", text=UNKNOWN)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def _visited(self, request: Request, caller: Caller | None, handler: Handler) -> Response:
        if caller is None:
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            query = f"?next={quote(target, safe='/')}" if request.method == "GET" and target != "/" else ""
            return RedirectResponse(f"/login{query or '?next=/'}", 303)
        form = await read_form(request, self.bodies, caller.name) if request.method == "POST" else query_form(request)
        answer = await handler(Visit(request, caller, form, self._notice(request)))
        if isinstance(answer, Response):
            if NOTICE_COOKIE in request.cookies:
                answer.delete_cookie(NOTICE_COOKIE, httponly=True, samesite="strict", secure=behind_https(request))
            return answer
        response = RedirectResponse(answer.location, 303)
        if answer.notice is not None:
            set_cookie(request, response, NOTICE_COOKIE, self._signed(answer.notice), NOTICE_SECONDS)
        return response

    def _signed(self, notice: Notice) -> str:
        return str(self.notices.dumps([notice.text[:500], notice.good, notice.secret_of]))

    def _notice(self, request: Request) -> Notice | None:
        try:
            return Notice(*self.notices.loads(request.cookies.get(NOTICE_COOKIE, ""), max_age=NOTICE_SECONDS))
        except (BadSignature, ValueError, TypeError, orjson.JSONDecodeError):
            return None


FOREIGN = "This form was sent from a different address. Open the page here and try again."
UNKNOWN = "Nothing was lost. The service's log has the details."


def behind_https(request: Request) -> bool:
    return _scheme(request) == "https"


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int = SESSION_SECONDS) -> None:
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, samesite="strict", secure=behind_https(request), path="/"
    )


def from_same_origin(request: Request) -> bool:
    """Browsers send Origin (or Sec-Fetch-Site) with every POST; a request without either is not from a browser."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    here = _origin(f"{_scheme(request)}://{request.headers.get('host', '')}")
    return here is not None and _origin(origin) == here


def _scheme(request: Request) -> str:
    """The scheme that the browser used: the platform's router terminates TLS and says so."""
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return forwarded if forwarded in DEFAULT_PORTS else request.url.scheme


def _origin(text: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(text)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            return None
        return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]
    except ValueError:
        return None
