"""A real Chromium, one for each test process, and a context of its own for each test."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from starlette.applications import Starlette
from starlette.routing import Route

from service.tools.harness.ports import free_port
from service.tools.harness.serving import serving
from service.tools.sandbox.app import create_sandbox
from tests.conftest import CERTIFICATES, PATIENCE, Service, Subscriber, environment, running
from tests.servers import fresh_database

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The browser lives in the loop of the session, so everything that a test of a page uses does too.
page_fixture = pytest_asyncio.fixture(loop_scope="session")
session_fixture = pytest_asyncio.fixture(scope="session", loop_scope="session")
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()


@session_fixture
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.fail("The pages are tested in Chromium: apt-get install -y chromium (or set CHROMIUM to its path).")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        await chromium.close()


@session_fixture
async def sandbox() -> AsyncIterator[str]:
    async with serving(create_sandbox(callback_retry=0.1)) as url:
        yield url


@pytest.fixture
def env(sandbox: str, tmp_path: Path, engine: str) -> dict[str, str]:
    made = environment(sandbox, tmp_path, free_port())
    return made if engine == "sqlite" else made | {"DATABASE_URL": fresh_database()}


@page_fixture
async def service(env: dict[str, str]) -> AsyncIterator[Service]:
    async with running(env) as one:
        yield one


@page_fixture
async def subscriber() -> AsyncIterator[Subscriber]:
    one = Subscriber()
    app = Starlette(routes=[Route("/{path:path}", one.take, methods=["POST"])])
    async with serving(app) as url:
        one.url = f"{url}/hook"
        yield one


@dataclass
class Tab:
    """A page of the browser, and what went wrong in it."""

    page: Page
    context: BrowserContext
    url: str
    wrong: list[str]

    async def open(self, path: str, key: str = "alice-key") -> Page:
        """Signed in."""
        if not await self.context.cookies():
            await self.sign_in(key)
        await self.page.goto(self.url + path)
        return self.page

    async def sign_in(self, key: str = "alice-key") -> None:
        await self.page.goto(self.url + "/login")
        await self.page.get_by_label("API key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_url(self.url + "/")


OpenTab = Callable[..., Awaitable[Tab]]


@page_fixture
async def open_tab(browser: Browser, sandbox: str, service: Service) -> AsyncIterator[OpenTab]:
    """Opens tabs of a browser without cookies; no console error and no request to another host may come of them."""
    tabs: list[Tab] = []

    async def opened(url: str = service.url, **options: Any) -> Tab:
        tab = await new_tab(browser, url, {url, sandbox}, **options)
        tabs.append(tab)
        return tab

    yield opened
    for tab in tabs:
        await tab.context.close()
        assert not tab.wrong


@page_fixture
async def tab(open_tab: OpenTab) -> Tab:
    return await open_tab()


async def new_tab(browser: Browser, url: str, hosts: set[str], **options: Any) -> Tab:
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE * 1000)
    page = await context.new_page()
    wrong: list[str] = []
    allowed = {urlsplit(host).netloc for host in hosts}
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def check(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") and parts.netloc not in allowed:
            wrong.append(f"request to {address}")

    page.on("request", lambda request: check(request.url))
    return Tab(page, context, url, wrong)


async def serious_faults(page: Page) -> list[str]:
    """What axe finds, each with its first place."""
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical", "moderate")
    ]


@asynccontextmanager
async def signed_in(service: Service, key: str = "alice-key") -> AsyncIterator[httpx.AsyncClient]:
    """A client with the session's cookie, as a browser without scripts."""
    async with httpx.AsyncClient(base_url=service.url, timeout=PATIENCE, verify=CERTIFICATES) as client:
        response = await client.post("/login", data={"key": key})
        assert response.status_code == 303, response.text
        yield client
