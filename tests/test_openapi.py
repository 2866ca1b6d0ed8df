"""The description of the API is well made, complete, and true of a running service."""

import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from service import __version__
from service.web.openapi import openapi
from service.wire import schemas
from tests.conftest import IMG2IMG, TXT2IMG, Service, Subscriber, running, txt2img

DOCUMENT = openapi(__version__)
Answered = set[tuple[str, str, int]]


def fits(schema: dict[str, Any], value: Any) -> list[str]:
    """What the document's own words find wrong."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return [str(error) for error in jsonschema_rs.Draft202012Validator(whole).iter_errors(value)]


def check(response: httpx.Response, path: str) -> tuple[str, str, int]:
    """An answer is as the document says of this path; returns what was seen."""
    method, status = response.request.method.lower(), response.status_code
    described = DOCUMENT["paths"][path][method]["responses"][str(status)]
    if "content" not in described:
        assert response.content == b""
        return method, path, status
    media = response.headers["content-type"].split(";")[0]
    content = described["content"].get(media, described["content"].get("image/*"))
    assert content is not None, media
    if "schema" in content and media.endswith("json"):
        assert fits(content["schema"], response.json()) == []
    assert set(response.headers) >= {name.lower() for name in described.get("headers", {}) if name in ALWAYS}
    return method, path, status


ALWAYS = {"WWW-Authenticate", "Retry-After"}


def test_the_description_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


async def test_it_describes_every_route_of_the_running_service_and_no_other(service: Service) -> None:
    site: Any = service.bridge.web.app.site
    while not hasattr(site, "router"):
        site = site.app
    described = {(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations}
    doors = {one for one in described if one[1].startswith("/webhooks/")}
    pages = {page.path for page in service.bridge.web.site.routes if isinstance(page, Route)}
    assert described - doors == {
        (method.lower(), re.sub(r":\w+}", "}", route.path))
        for route in site.router.routes
        if isinstance(route, Route) and route.path not in pages
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert doors == {("post", f"/webhooks/{name}/{{token}}") for name in service.bridge.submitting.providers}


# Only a bucket with TLS sends readers to itself; tests of copies see it.
NOT_HERE = {("get", "/results/{token}/{name}", 307)}


async def test_real_responses_match_the_description(
    env: dict[str, str], subscriber: Subscriber, tmp_path: Path
) -> None:
    async with running(env | {"RESULTS_URL": f"file://{tmp_path / 'results'}"}) as service:
        await _call_everything(service, subscriber)


async def _call_everything(service: Service, subscriber: Subscriber) -> None:
    seen: Answered = set()

    async def call(method: str, path: str, _id: str = "", **more: Any) -> httpx.Response:
        parts = iter(_id.split("/", path.count("{") - 1))
        address = re.sub(r"{\w+}", lambda _: next(parts), path)
        client = service.admin if path in ("/v1/callbacks", "/metrics") else service.client
        response = await client.request(method, address, **more)
        seen.add(check(response, path))
        return response

    await _tasks(call)
    await _subscriptions(call, subscriber.url)
    await _around(call)
    successes = {
        (method, path, int(status))
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
        if int(status) < 400 and not path.startswith("/webhooks/")
    }
    assert {one for one in seen if one[2] < 400} == successes - NOT_HERE


async def _tasks(call: Any) -> None:
    wait = {"Prefer": "wait=15"}
    held = (await call("POST", "/v1/tasks", json=txt2img("hold=gate"))).json()["id"]
    await call("GET", "/v1/tasks/{id}", held, headers={"Prefer": "wait=1"})
    await call("POST", "/v1/tasks/{id}/cancel", held)
    await call("POST", "/v1/tasks/{id}/cancel", held)
    for body in (IMG2IMG, txt2img("delay=0.05 output=base64"), txt2img("delay=0.05 fail=sorry")):
        task = (await call("POST", "/v1/tasks", json=body, headers=wait)).json()
        await call("GET", "/v1/tasks/{id}", task["id"])
        if urls := (task["output"] or {}).get("urls"):
            picture = urls[0].partition("/media/")[2]
            if picture:
                await call("GET", "/media/{token}", picture)
    await call("POST", "/v1/tasks/{id}/resubmit", task["id"])
    await call("GET", "/v1/tasks/{id}", task["id"], headers=wait)
    stream = await call("GET", "/v1/tasks/{id}/events", task["id"])
    last = re.findall(r"^id: (\d+)$", stream.text, re.MULTILINE)[-1]
    await call("GET", "/v1/tasks/{id}/events", task["id"], headers={"Last-Event-ID": last})
    await _copies(call)
    await call("GET", "/v1/tasks", params={"limit": 2})
    await call("GET", "/v1/events")
    await call("GET", "/v1/events/latest")


async def _copies(call: Any) -> None:
    task = (await call("POST", "/v1/tasks", json=txt2img())).json()
    stream = await call("GET", "/v1/tasks/{id}/events", task["id"], params={"until": "stored"})
    copy = re.findall(r"/results/([^\"]+)", stream.text)[-1]
    await call("GET", "/results/{token}/{name}", copy)
    await call("GET", "/results/{token}/{name}", copy, headers={"Range": "bytes=0-9"})


async def _subscriptions(call: Any, url: str) -> None:
    made = (await call("POST", "/v1/subscriptions", json={"url": url})).json()["id"]
    one = "/v1/subscriptions/{id}"
    await call("GET", "/v1/subscriptions")
    await call("GET", one, made)
    await call("PATCH", one, made, json={"description": "orders"})
    pinged = (await call("POST", f"{one}/ping", made)).json()["id"]
    await call("POST", f"{one}/rotate-secret", made)
    await call("POST", f"{one}/replay", made, json={"after": 0})
    await call("GET", "/v1/deliveries")
    await call("POST", "/v1/deliveries/{id}/retry", pinged)
    await call("DELETE", one, made)
    await call("GET", one, made)
    await call("GET", "/v1/webhook-secret")
    await call("GET", "/v1/callbacks")


async def _around(call: Any) -> None:
    for path in ("/v1/catalog", "/healthz", "/readyz", "/openapi.json", "/metrics"):
        await call("GET", path)
    await call("GET", "/schemas/{name}", "api/task.json")
    await call("GET", "/schemas/{name}", "none.json")


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/v1/tasks", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("/v1/tasks", {"json": TXT2IMG, "headers": {"x-api-key": "a-guess"}}, 401),
        ("/v1/tasks", {"content": b" " * 2_000_000, "headers": {"content-type": "application/json"}}, 413),
        ("/v1/tasks", {"content": b"a", "headers": {"content-type": "text/plain"}}, 415),
        ("/v1/tasks", {"json": {}}, 422),
        ("/webhooks/piapi/{token}", {"json": {"data": {"task_id": "1"}}}, 404),
    ],
)
async def test_refusals_are_as_described(service: Service, path: str, more: dict[str, Any], status: int) -> None:
    response = await service.client.post(path.replace("{token}", "made-up"), **more)
    assert check(response, path) == ("post", path, status)


async def test_every_schema_is_served_where_the_catalogue_says(service: Service) -> None:
    for name in schemas.names():
        response = await service.anybody.get(f"/schemas/{name}.json")
        assert response.json() == schemas.load(name)
