"""Try it: a form from the schema of the chosen task type, and the same request as code."""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.core.errors import CallbridgeError, Conflict, Fault, ValidationFailed
from service.core.task import Task
from service.flows.browse import Browser
from service.flows.submit import Submitter
from service.ports.queries import Idempotency
from service.web.page import snippets
from service.web.page.forms import Form, alert_of
from service.web.page.gate import Gate, Notice, SeeOther, Visit
from service.web.page.rendering import render
from service.web.page.schema import Shape, shape_of
from service.web.page.schema_form import Field, fields_of, pairs_of, pruned, value_of

# For what the catalog does not know: any object.
ANYTHING = Shape("object")
JSON_FAULT = "json"
# How long a second submit waits for the first one: this many looks, this many seconds apart.
LOOKS, LOOK_AGAIN = 100, 0.05


@dataclass(frozen=True, slots=True)
class Chosen:
    """`shape` has no fields where the provider accepts any input."""

    provider: str
    model: str
    task_type: str
    shape: Shape


class TryPage:
    """`catalog` is schemas/catalog.json; `configured` are the providers with a key."""

    def __init__(
        self,
        gate: Gate,
        browser: Browser,
        submitter: Submitter,
        catalog: Mapping[str, Any],
        public_url: str,
    ) -> None:
        self.gate = gate
        self.browser = browser
        self.submitter = submitter
        self.public_url = public_url
        # Provider to model to task type to the name of its schema.
        self.choices: dict[str, dict[str, dict[str, str]]] = {
            provider: {model: about["task_types"] for model, about in entry["models"].items()}
            for provider, entry in catalog.items()
        }
        found = (name for models in self.choices.values() for task_types in models.values() for name in task_types)
        self.task_types = list(dict.fromkeys(found))

    def routes(self) -> list[Route]:
        return [
            self.gate.get("/try", self.show),
            self.gate.post("/try", self.submit),
            self.gate.post("/try/code", self.code),
        ]

    async def show(self, visit: Visit) -> Response:
        form, value = visit.form, None
        if "task" in form:
            task = await self.browser.task(visit.caller, form["task"])
            chosen, value = self._chosen(task.provider, task.model, task.task_type), task.input
        else:
            chosen = self._chosen(form.text("provider"), form.text("model"), form.text("task_type"))
        whole = form.get("json", "")
        if value is not None and not chosen.shape.fields:
            whole = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        return self._page(visit, chosen, value_of(chosen.shape, form) if value is None else value, whole)

    async def submit(self, visit: Visit) -> Response | SeeOther:
        form = visit.form
        chosen = self._as_typed(form)
        value, whole = value_of(chosen.shape, form), form.get("json", "")
        try:
            body = _body(chosen, value, whole)
            # The form can be sent once: a second press of the button finds the first task.
            key = form.text("once")
            idempotency = Idempotency(f"page:{key}", orjson.dumps(body)) if 16 <= len(key) <= 64 else None
            task = await self._accept(visit.caller.name, body, idempotency)
        except CallbridgeError as error:
            return self._page(visit, chosen, value, whole, error)
        return SeeOther(f"/tasks/{task.id}", Notice("Sent."))

    async def _accept(self, owner: str, body: Any, idempotency: Idempotency | None) -> Task:
        """Waits while the same form, submitted before, is still being stored."""
        for _ in range(LOOKS):
            with suppress(Conflict):
                return (await self.submitter.accept(owner, body, idempotency))[0]
            await asyncio.sleep(LOOK_AGAIN)
        return (await self.submitter.accept(owner, body, idempotency))[0]

    async def code(self, visit: Visit) -> Response:
        """For the page's script: the request as typed so far, in three languages."""
        chosen = self._as_typed(visit.form)
        try:
            body = _body(chosen, value_of(chosen.shape, visit.form), visit.form.get("json", ""))
        except ValidationFailed as error:
            return JSONResponse({"wrong": error.detail})
        return JSONResponse(self._code(body))

    def _page(
        self, visit: Visit, chosen: Chosen, value: Any, whole: str, error: CallbridgeError | None = None
    ) -> Response:
        fields = fields_of(chosen.shape, value)
        wrong = (
            {fault.pointer.removeprefix("/input") or JSON_FAULT: fault.detail for fault in error.faults}
            if error
            else {}
        )
        typed = value_of(chosen.shape, Form(pairs_of(fields)))
        try:
            body = _body(chosen, typed, whole)
        except ValidationFailed:
            body = _body(chosen, typed, "")
        known = {field.pointer for field in _all(fields)} | {JSON_FAULT, "/provider", "/model", "/task_type"}
        return render(
            "try.html",
            visit.caller,
            error.status if error else 200,
            notice=visit.notice,
            alert=alert_of(error),
            # Errors elsewhere, such as inside a value written as JSON, are listed below the alert.
            elsewhere={pointer: text for pointer, text in wrong.items() if pointer not in known or whole.strip()},
            wrong=wrong,
            chosen=chosen,
            choices=self.choices,
            task_types=self.task_types,
            fields=[field for field in fields if field.shape.kind != "none"],
            unused=[field for field in fields if field.shape.kind == "none"],
            whole=whole,
            once=secrets.token_urlsafe(16),
            code=self._code(body),
        )

    def _code(self, body: dict[str, Any]) -> dict[str, str]:
        languages = {"curl": snippets.curl, "Python": snippets.python, "JavaScript": snippets.javascript}
        return {name: write(self.public_url, body) for name, write in languages.items()}

    def _chosen(self, provider: str, model: str, task_type: str) -> Chosen:
        """The nearest match in the catalog: the first entry where a choice is unknown."""
        models = self.choices.get(provider) or next(iter(self.choices.values()))
        provider = provider if provider in self.choices else next(iter(self.choices))
        model = model if model in models else next(iter(models))
        task_types = models[model]
        task_type = task_type if task_type in task_types else next(iter(task_types))
        return Chosen(provider, model, task_type, shape_of(task_types[task_type]))

    def _as_typed(self, form: Form) -> Chosen:
        names = form.text("provider"), form.text("model"), form.text("task_type")
        schema = self.choices.get(names[0], {}).get(names[1], {}).get(names[2])
        return Chosen(*names, shape_of(schema) if schema else ANYTHING)


def _body(chosen: Chosen, value: Any, whole: str) -> dict[str, Any]:
    """What is submitted. Raises ValidationFailed when the field `Input (JSON)` holds no object."""
    given: Any = pruned(value) or {}
    if whole.strip():
        try:
            given = orjson.loads(whole)
        except orjson.JSONDecodeError as error:
            fault = Fault("/input", f"is not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}")
            raise ValidationFailed("Input (JSON) is not valid JSON.", faults=(fault,)) from None
        if not isinstance(given, dict):
            raise ValidationFailed("Input (JSON) must be an object.", faults=(Fault("/input", "must be an object"),))
    return {"provider": chosen.provider, "model": chosen.model, "task_type": chosen.task_type, "input": given}


def _all(fields: tuple[Field, ...] | list[Field]) -> list[Field]:
    return [one for field in fields for one in (field, *_all(field.parts))]
