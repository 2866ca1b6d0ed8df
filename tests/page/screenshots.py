"""Screenshots of the pages for the README, with the sandbox as provider: `python -m tests.page.screenshots`."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.tools.demo.processes import Running, running
from service.tools.harness.serving import serving
from tests.page.conftest import ARGUMENTS, CHROMIUM

FOLDER = Path(__file__).parents[2] / "docs" / "images"
WIDTH, HEIGHT = 1200, 800
PROMPTS = (
    "a lighthouse in fog",
    "a bridge at night",
    "paper boats on a pond",
    "a fox in the snow",
    "rooftops after rain",
    "a heron at dawn",
    "an orange grove",
    "mountains in winter light",
)


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running(Path(folder)) as parts,
            serving(Starlette(routes=[Route("/{path}", _answer, methods=["POST"])])) as hook,
        ):
            await parts.ready()
            task = await _fill(parts, hook)
            async with _browser() as browser:
                for scheme in ("light", "dark"):
                    await _shoot(browser, parts, scheme, {"now": "/", "task": f"/tasks/{task}"})


async def _answer(request: Request) -> Response:
    broken = request.url.path == "/shop"
    return Response("no such table: orders" if broken else None, status_code=500 if broken else 204)


async def _fill(parts: Running, hook: str) -> str:
    """Tasks of all kinds; the id of one whose webhook did not arrive."""
    async with httpx.AsyncClient(base_url=parts.service, headers={"X-API-Key": parts.key}, timeout=30) as client:

        async def submit(prompt: str, sandbox: str, wait: bool = True) -> dict[str, Any]:
            body = {
                "provider": "piapi",
                "model": "Qubico/flux1-schnell",
                "task_type": "txt2img",
                "input": {"prompt": f"{prompt} [sandbox: size=4 {sandbox}]", "width": 1024, "height": 1024},
                "metadata": {"order": f"A-{len(prompt)}"},
            }
            response = await client.post("/v1/tasks", json=body, headers={"Prefer": "wait=30"} if wait else {})
            task: dict[str, Any] = response.raise_for_status().json()
            return task

        for prompt in PROMPTS:
            await submit(prompt, "delay=0.3")
        for path in ("audit", "shop"):
            await client.post("/v1/subscriptions", json={"url": f"{hook}/{path}"})
        await submit("something else", 'delay=0.4 fail="The prompt was refused by moderation."')
        shown = await submit("a little cat", "delay=0.6 callback=twice")
        for prompt in ("a field of poppies", "a clockwork owl"):
            await submit(prompt, "hold=picture", wait=False)
        return str(shown["id"])


@asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


async def _shoot(browser: Browser, parts: Running, scheme: Any, pages: dict[str, str]) -> None:
    context = await browser.new_context(color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT})
    page = await context.new_page()
    await page.goto(parts.sign_in_link())
    for name, path in pages.items():
        await page.goto(parts.service + path)
        await page.wait_for_function("[...document.images].every(image => image.complete)")
        await page.screenshot(path=FOLDER / f"{name}-{scheme}.png")
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
