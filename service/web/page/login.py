"""Sign in with an API key, or with the link that a run without API_KEYS prints; sign out."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.web.page.forms import query_form, read_form
from service.web.page.gate import SESSION_COOKIE, Gate, set_cookie
from service.web.page.rendering import render

LINK_PATH = "/login/link/"


class LoginPages:
    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def routes(self) -> list[Route]:
        return [
            self.gate.open("/login", "GET", self.show),
            self.gate.open("/login", "POST", self.sign_in),
            self.gate.open(LINK_PATH + "{token}", "GET", self.follow_link),
            self.gate.open("/logout", "POST", self.sign_out),
        ]

    async def show(self, request: Request) -> Response:
        target = local_path(query_form(request).text("next"))
        if self.gate.sessions.caller(request.cookies.get(SESSION_COOKIE)) is not None:
            return RedirectResponse(target, 303)
        return render("login.html", None, next=target, alert=None)

    async def sign_in(self, request: Request) -> Response:
        form = await read_form(request, self.gate.bodies)
        target = local_path(form.text("next"))
        cookie = self.gate.sessions.sign_in(form.text("key"))
        if cookie is None:
            return render("login.html", None, 401, next=target, alert="This API key is not valid.")
        return self._let_in(request, cookie, target)

    async def follow_link(self, request: Request) -> Response:
        # A HEAD comes from a link preview, not from a person: it must not use the link up.
        cookie = self.gate.sessions.redeem(request.path_params["token"]) if request.method == "GET" else None
        if cookie is None:
            alert = "This link was already used or is older than ten minutes. Sign in with the API key."
            return render("login.html", None, 401, next="/", alert=alert)
        return self._let_in(request, cookie, "/")

    async def sign_out(self, request: Request) -> Response:
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return response

    def _let_in(self, request: Request, cookie: str, target: str) -> Response:
        response = RedirectResponse(target, 303)
        set_cookie(request, response, SESSION_COOKIE, cookie)
        return response


def local_path(text: str) -> str:
    """`next` if it is an address of this service, else the first page."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and len(text) < 2000
    return text if plain else "/"
