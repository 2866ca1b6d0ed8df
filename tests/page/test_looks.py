"""Every page in both schemes and widths: nothing serious for axe, nothing wider than the screen."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.tools.harness.ports import free_port
from service.tools.harness.serving import serving
from tests.conftest import Service, environment, img2img, running, txt2img
from tests.page.conftest import new_tab, serious_faults

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script> ${7*7} {{7*7}}"
CHAT = {
    "provider": "piapi",
    "model": "gpt-4o",
    "task_type": "chat-completions",
    "input": {"messages": [{"role": "user", "content": '[sandbox: text="Hello there."]'}]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full(sandbox: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """With something of everything, and a hostile prompt."""

    async def answer(request: Request) -> Response:
        return Response(HOSTILE, status_code=500 if request.url.path == "/broken" else 200)

    env = environment(sandbox, tmp_path_factory.mktemp("full"), free_port())
    hook = Starlette(routes=[Route("/{path}", answer, methods=["POST"])])
    async with serving(hook) as url, running(env) as service:
        for path in ("ok", "broken"):
            await service.client.post("/v1/subscriptions", json={"url": f"{url}/{path}", "description": HOSTILE})
        prompt = {"prompt": f"{HOSTILE} [sandbox: delay=0.05]"}
        await asyncio.gather(
            service.finished(txt2img() | {"input": prompt, "metadata": {HOSTILE: HOSTILE}}),
            service.finished(img2img()),
            service.finished(CHAT),
            service.finished(txt2img(f'fail="{HOSTILE}"')),
            service.submit(txt2img("hold=looks")),
        )
        while not (await service.client.get("/v1/deliveries", params={"status": "dead"})).json()["data"]:
            await asyncio.sleep(0.05)
        yield service


async def addresses(service: Service) -> dict[str, str]:
    async def first(**query: str) -> str:
        task = (await service.client.get("/v1/tasks", params=query)).json()["data"][0]
        return str(task["id"])

    subscription = (await service.client.get("/v1/subscriptions")).json()["data"][-1]["id"]
    return {
        "Sign in": "/login",
        "Now": "/",
        "Tasks": "/tasks",
        "a failed task": f"/tasks/{await first(status='failed')}",
        "a completed task": f"/tasks/{await first(status='completed', provider='modelslab')}",
        "a running task": f"/tasks/{await first(status='processing')}",
        "Subscriptions": "/subscriptions",
        "a subscription": f"/subscriptions/{subscription}",
        "Remove": f"/subscriptions/{subscription}/remove",
        "Deliveries": "/deliveries",
        "Try it": "/try?provider=piapi&model=Qubico/flux1-dev-advanced&task_type=txt2img-lora",
        "Try it, chat": "/try?provider=piapi&model=gpt-4o&task_type=chat-completions",
    }


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_usable(browser: Browser, sandbox: str, full: Service, scheme: str, width: int) -> None:
    viewport = {"width": width, "height": 900}
    tab = await new_tab(browser, full.url, {full.url, sandbox}, color_scheme=scheme, viewport=viewport)
    found: dict[str, list[str]] = {}
    for name, path in (await addresses(full)).items():
        if path == "/login":
            await tab.page.goto(full.url + path)
        else:
            await tab.open(path, "ops-key")
        faults = await serious_faults(tab.page)
        if await tab.page.evaluate("document.documentElement.scrollWidth") > width:
            faults.append("is wider than the screen")
        if await tab.page.locator("h1").count() != 1:
            faults.append("has not one heading")
        if faults:
            found[name] = faults
    await tab.context.close()
    assert not found
    assert not tab.wrong


async def test_what_strangers_wrote_stays_text(browser: Browser, sandbox: str, full: Service) -> None:
    tab = await new_tab(browser, full.url, {full.url, sandbox})
    dialogs: list[str] = []
    tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    shown = 0
    for path in (await addresses(full)).values():
        page = await tab.open(path, "ops-key")
        assert await page.locator("img[src=x]").count() == 0
        shown += HOSTILE in (await page.locator("body").text_content() or "")
    await tab.context.close()
    assert shown >= 4
    assert not dialogs
    assert not tab.wrong
