"""The API reference at /docs, open to everyone: Swagger UI served from our own files, styled like the pages."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.web.page.gate import SESSION_COOKIE, Gate
from service.web.page.rendering import render


class ReferencePage:
    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def routes(self) -> list[Route]:
        return [self._gate.open("/docs", "GET", self.show)]

    async def show(self, request: Request) -> Response:
        caller = self._gate.sessions.caller(request.cookies.get(SESSION_COOKIE))
        return render("reference.html", caller)
