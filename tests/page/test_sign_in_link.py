"""The link that a run without API_KEYS prints: once, and for ten minutes."""

import time

import httpx
import pytest

from service.web.page import sessions as module
from tests.conftest import Service
from tests.page.conftest import signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


def link(service: Service) -> str:
    return f"{service.url}/login/link/{service.bridge.web.site.gate.sessions.link_token()}"


async def test_the_link_signs_in_once(service: Service) -> None:
    address = link(service)
    async with httpx.AsyncClient(follow_redirects=True) as client:
        assert (await client.head(address)).status_code == 401, "a preview is no visit"
        response = await client.get(address)
        assert (response.status_code, str(response.url)) == (200, f"{service.url}/")
    async with httpx.AsyncClient() as another:
        again = await another.get(address)
    assert again.status_code == 401
    assert 'role="alert"' in again.text
    assert "set-cookie" not in again.headers


async def test_the_link_is_too_old_after_ten_minutes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    address = link(service)
    now = time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + module.LINK_SECONDS + 2)
    async with httpx.AsyncClient() as client:
        assert (await client.get(address)).status_code == 401


@pytest.mark.parametrize("token", ["x", "a.b.c", "%00", "é"])
async def test_a_forged_link_is_none(service: Service, token: str) -> None:
    assert (await service.anybody.get(f"/login/link/{token}")).status_code == 401


async def test_a_session_cookie_is_no_link(service: Service) -> None:
    async with signed_in(service) as client:
        cookie = client.cookies["callbridge_session"]
    assert (await service.anybody.get(f"/login/link/{cookie}")).status_code == 401
