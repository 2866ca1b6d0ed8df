"""Who gets in, for how long, and from where: over plain HTTP, as a browser would ask."""

import re
from pathlib import Path

import httpx
import pytest

from service.tools.harness.ports import free_port
from tests.conftest import Service, environment, running, txt2img
from tests.page.conftest import signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGES = ("/", "/tasks", "/subscriptions", "/deliveries")


@pytest.mark.parametrize("path", [*PAGES, "/tasks/tsk_unknown", "/tasks?status=failed&model=a%20b"])
async def test_a_page_without_a_session_leads_to_the_login_and_back(service: Service, path: str) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        response = await client.get(path)
        assert response.status_code == 303
        assert response.headers["location"].startswith("/login?next=/")
        form = await client.get(response.headers["location"])
        target = re.search(r'name="next" value="([^"]*)"', form.text)
        assert target is not None
        after = await client.post("/login", data={"key": "alice-key", "next": target[1].replace("&amp;", "&")})
        assert (after.status_code, after.headers["location"]) == (303, path)


async def test_a_wrong_key_is_401_with_an_alert(service: Service) -> None:
    response = await service.anybody.post("/login", data={"key": "a-guess", "next": "/tasks"})
    assert response.status_code == 401
    assert 'role="alert"' in response.text
    assert 'value="/tasks"' in response.text
    assert "a-guess" not in response.text
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", ""]
)
async def test_signing_in_never_leads_to_another_host(service: Service, target: str) -> None:
    response = await service.anybody.post("/login", data={"key": "alice-key", "next": target})
    assert (response.status_code, response.headers["location"]) == (303, "/")


async def test_the_cookie_is_for_this_site_and_its_server_alone(service: Service) -> None:
    async def cookie(**headers: str) -> str:
        response = await service.anybody.post("/login", data={"key": "alice-key"}, headers=headers)
        return response.headers["set-cookie"]

    plain = await cookie()
    assert plain.startswith("callbridge_session=")
    for word in ("HttpOnly", "SameSite=strict", "Max-Age=604800", "Path=/"):
        assert word in plain
    assert "Secure" not in plain
    assert "Secure" in await cookie(**{"X-Forwarded-Proto": "https"})


async def test_the_cookie_does_not_open_the_api(service: Service) -> None:
    async with signed_in(service) as client:
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/v1/tasks")).status_code == 401


async def test_signing_out_ends_the_session(service: Service) -> None:
    async with signed_in(service) as client:
        response = await client.post("/logout")
        assert (response.status_code, response.headers["location"]) == (303, "/login")
        assert (await client.get("/")).status_code == 303


@pytest.mark.parametrize("keys", ["bob:bob-key", "alice:another-key-of-alice,bob:bob-key"])
async def test_a_session_ends_when_its_key_goes(sandbox: str, tmp_path: Path, keys: str) -> None:
    env = environment(sandbox, tmp_path, free_port())
    async with running(env) as service, signed_in(service) as client:
        cookies = client.cookies
        assert (await client.get("/")).status_code == 200
    async with running(env) as service, httpx.AsyncClient(base_url=service.url, cookies=cookies) as client:
        assert (await client.get("/")).status_code == 200, "a restart alone ends no session"
    env["API_KEYS"] = keys
    async with running(env) as service, httpx.AsyncClient(base_url=service.url, cookies=cookies) as client:
        assert (await client.get("/")).status_code == 303


@pytest.mark.parametrize(
    "cookie",
    ["", "x", "a.b.c", "é", "callbridge" * 100],
)
async def test_a_forged_session_is_none(service: Service, cookie: str) -> None:
    headers = [(b"Cookie", f"callbridge_session={cookie}".encode())]
    assert (await service.anybody.get("/", headers=headers)).status_code == 303


@pytest.mark.parametrize(
    ("origin", "headers", "status"),
    [
        ("http://{host}", {}, 303),
        (None, {}, 303),
        ("https://{host}", {"X-Forwarded-Proto": "https"}, 303),
        ("https://{host}", {}, 403),
        ("http://{host}", {"X-Forwarded-Proto": "https"}, 403),
        ("null", {}, 403),
        ("", {}, 403),
        ("http://evil.example", {}, 403),
        ("http://{host}.evil.example", {}, 403),
        ("http://localhost:1", {}, 403),
        (None, {"Sec-Fetch-Site": "cross-site"}, 403),
        (None, {"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_a_form_from_another_origin_is_refused(
    service: Service, origin: str | None, headers: dict[str, str], status: int
) -> None:
    if origin is not None:
        headers = headers | {"Origin": origin.format(host=service.url.removeprefix("http://"))}
    async with signed_in(service) as client:
        for path in ("/login", "/logout"):
            response = await client.post(path, data={"key": "alice-key"}, headers=headers)
            assert response.status_code == status, path


async def test_default_ports_are_the_same_origin(service: Service) -> None:
    headers = {"Host": "bridge.example", "Origin": "https://bridge.example:443", "X-Forwarded-Proto": "https"}
    assert (await service.anybody.post("/login", data={"key": "alice-key"}, headers=headers)).status_code == 303


async def test_pages_may_not_be_framed_and_run_no_inline_script(service: Service) -> None:
    async with signed_in(service) as client:
        for response in [await client.get(path) for path in (*PAGES, "/login", "/tasks/tsk_unknown")]:
            policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["frame-ancestors"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == "'self'"
            assert {"http:", "https:"} <= set(policy["img-src"].split()) & set(policy["media-src"].split())
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["x-frame-options"] == "DENY"
            assert "no-store" in response.headers["cache-control"]
            assert " style=" not in response.text


async def test_static_files_are_kept_for_ever_under_names_of_their_content(service: Service) -> None:
    page = (await service.anybody.get("/login")).text
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert {path.rpartition(".")[2] for path in found} == {"css", "js", "svg"}
    script = next(path for path in found if path.endswith(".js"))
    imported = re.findall(r'from "([^"]+)"', (await service.anybody.get(script)).text)
    assert imported
    for path in [*found, *imported]:
        response = await service.anybody.get(path)
        assert response.status_code == 200, path
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert re.search(r"\.[0-9a-f]{12}\.", path)
    assert (await service.anybody.get("/static/page.000000000000.css")).status_code == 404


async def test_a_form_is_read_only_as_a_form_and_only_so_far(service: Service) -> None:
    async def status(**request: object) -> int:
        return (await service.anybody.post("/login", **request)).status_code  # type: ignore[arg-type]

    assert await status(json={"key": "alice-key"}) == 415
    assert await status(data={"key": "a\x00"}) == 400
    assert await status(data={str(n): "1" for n in range(2000)}) == 400
    assert await status(data={"key": "x" * 2_000_000}) == 413


async def test_somebody_elses_task_is_not_there(service: Service) -> None:
    task = await service.submit(txt2img())
    async with signed_in(service, "bob-key") as bob, signed_in(service, "ops-key") as ops:
        assert task["id"] not in (await bob.get("/tasks")).text
        listed = (await ops.get("/tasks")).text
        assert task["id"] in listed
        assert "alice" in listed
