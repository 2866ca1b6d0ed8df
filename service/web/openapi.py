"""The API's own description (OpenAPI 3.1), written from the table of operations and the files in `schemas/`."""

import re
from functools import cache
from typing import Any

from service.core.errors import CallbridgeError
from service.core.event import EVENT_TYPES
from service.web.components import components, reference
from service.web.operations.operation import JSON, STREAM, Operation, Parameter
from service.web.operations.table import OPERATIONS
from service.wire import schemas

PROBLEM = "application/problem+json"
ABOUT = """Submit a task to PiAPI or ModelsLab and get its result by signed webhooks \
(https://www.standardwebhooks.com), server-sent events, or `Prefer: wait`. Errors are RFC 9457 problem documents."""
LICENSE = {"name": "MIT", "identifier": "MIT"}
HEADERS = {
    "Location": "The address of the object that was created or changed",
    "Preference-Applied": "wait=N: the wait that was applied, in seconds",
    "Idempotent-Replayed": "true: this is the task of an earlier request with this key",
    "Retry-After": "Seconds to wait before the next try",
    "WWW-Authenticate": "Bearer",
    "Content-Range": "Which bytes of the file these are",
}
KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "key": KEY,
    "admin": KEY,
    "link": [*KEY, {"streamLink": []}],
    "open": [],
}
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "streamLink": {"type": "apiKey", "in": "query", "name": "token", "description": "As in the task's links.stream"},
}


@cache
def openapi(version: str) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(_path(operation), {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callbridge",
            "version": version,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "webhooks": {name: _webhook(name) for name in EVENT_TYPES},
        "components": {"securitySchemes": SCHEMES, "schemas": components()},
    }


def _operation(one: Operation) -> dict[str, Any]:
    path_parameters = [
        Parameter(name, {"type": "string"}, f"The {name} of the address", "path")
        for name in re.findall(r"{(\w+)}", _path(one))
    ]
    described: dict[str, Any] = {
        "operationId": _name(one),
        "tags": [_tag(one)],
        "summary": one.summary,
        "description": one.about or f"{one.summary}.",
        "security": SECURITY[one.access],
        "parameters": [_parameter(item) for item in (*path_parameters, *one.parameters)],
        "responses": {str(status): response for status, response in sorted(_responses(one).items())},
    }
    if one.body:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": reference(one.body)}}}
    return described


def _path(one: Operation) -> str:
    """Without the converters of the route: {name:path}."""
    return re.sub(r":\w+}", "}", one.path)


def _tag(one: Operation) -> str:
    """Tasks, Events, …: the resource of the address, by which documentation groups operations."""
    first, *rest = one.path.strip("/").split("/")
    if first == "v1":
        return rest[0].replace("-", " ").capitalize()
    return "Provider callbacks" if first == "webhooks" else "Service"


def _name(one: Operation) -> str:
    """Such as get_v1_tasks_id: generators name functions after it."""
    return re.sub(r"\W+", "_", f"{one.method}{_path(one)}").strip("_")


def _parameter(one: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": one.name, "in": one.place, "description": one.about, "schema": one.schema}
    if one.place == "path":
        shown["required"] = True
    if one.many:
        shown |= {"style": "form", "explode": False}
    return shown


def _responses(one: Operation) -> dict[int, dict[str, Any]]:
    found = {status: _problem(status) for status in one.problems}
    for status, schema in one.responses.items():
        response: dict[str, Any] = {"description": "Success" if status < 300 else "See the problem document"}
        if status != 204:
            response["content"] = {media: _content(media, schema) for media in one.media}
        if names := (one.headers or {}).get(status):
            response["headers"] = _headers(*names)
        found[status] = response
    return found


def _content(media: str, schema: str | None) -> dict[str, Any]:
    if media == STREAM:
        return {"schema": {"type": "string", "description": "id: seq, event: type, data: an event as JSON"}}
    return {"schema": reference(schema)} if schema else {}


def _problem(status: int) -> dict[str, Any]:
    titles = [error.title for error in CallbridgeError.__subclasses__() if error.status == status]
    response: dict[str, Any] = {
        "description": "; ".join(titles),
        "content": {PROBLEM: {"schema": reference("problem")}},
    }
    if status in (429, 503):
        response["headers"] = _headers("Retry-After")
    elif status == 401:
        response["headers"] = _headers("WWW-Authenticate")
    return response


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in names}


def _webhook(event_type: str) -> dict[str, Any]:
    name = f"events/{event_type}"
    return {
        "post": {
            "summary": schemas.load(name)["description"],
            "operationId": f"told_{event_type.replace('.', '_')}",
            "requestBody": {"content": {JSON: {"schema": reference(name)}}},
            "responses": {"2XX": {"description": "Delivered"}, "410": {"description": "Disables the subscription"}},
        }
    }
