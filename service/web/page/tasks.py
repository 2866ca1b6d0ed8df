"""The list of tasks, with its filter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import Route

from service.core.errors import CallbridgeError, ValidationFailed
from service.core.task import Status, Task
from service.flows.browse import Browser, Page, TaskFilter
from service.web.page.forms import Form
from service.web.page.gate import Gate, Visit
from service.web.page.rendering import render

STATUSES = tuple(status.value for status in Status)
FIELDS = ("status", "provider", "model", "metadata")


@dataclass(frozen=True, slots=True)
class Filters:
    """What was typed, and which field is wrong."""

    typed: Mapping[str, str]
    wanted: TaskFilter = field(default_factory=TaskFilter)
    wrong: Mapping[str, str] = field(default_factory=dict)


class TaskListPage:
    def __init__(self, gate: Gate, browser: Browser, providers: tuple[str, ...], models: tuple[str, ...]) -> None:
        self.gate = gate
        self.browser = browser
        self.providers = providers
        self.models = models

    def routes(self) -> list[Route]:
        return [self.gate.get("/tasks", self.show)]

    async def show(self, visit: Visit) -> Response:
        filters, alert, status = _filters(visit.form), None, 200
        page: Page[Task] = Page([], None)
        try:
            if filters.wrong:
                raise ValidationFailed("The filter is not valid; see the marked field.")
            page = await self.browser.tasks(visit.caller, filters.wanted, visit.form.get("cursor"))
        except CallbridgeError as error:
            alert, status = error.detail, error.status
        return render(
            "tasks.html",
            visit.caller,
            status,
            notice=visit.notice,
            alert=alert,
            filters=filters,
            tasks=page.items,
            next_page_address=_next(filters, page.next_cursor),
            statuses=STATUSES,
            providers=self.providers,
            models=self.models,
        )


def _filters(form: Form) -> Filters:
    typed = {name: form.text(name) for name in FIELDS}
    wrong: dict[str, str] = {}
    if typed["status"] and typed["status"] not in STATUSES:
        wrong["status"] = f"must be one of {', '.join(STATUSES)}"
    key, equals, value = typed["metadata"].partition("=")
    if typed["metadata"] and not (equals and key.strip()):
        wrong["metadata"] = "must be written as key=value"
    if wrong:
        return Filters(typed, wrong=wrong)
    metadata = {key.strip(): value.strip()} if typed["metadata"] else {}
    wanted = TaskFilter(typed["status"] or None, typed["provider"] or None, typed["model"] or None, metadata)
    return Filters(typed, wanted)


def _next(filters: Filters, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    return "/tasks?" + urlencode({**{name: value for name, value in filters.typed.items() if value}, "cursor": cursor})
