"""The API reference at /docs, in a real browser, without a session."""

import json

import pytest
from playwright.async_api import expect

from tests.conftest import Service, txt2img

from .conftest import OpenTab

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_reference_shows_every_tag_and_the_webhooks(open_tab: OpenTab) -> None:
    tab = await open_tab()
    await tab.page.goto(tab.url + "/docs")
    await expect(tab.page.get_by_role("heading", name="API reference")).to_be_visible()
    for name in ("Tasks", "Events", "Subscriptions", "Deliveries", "Webhooks"):
        await expect(tab.page.get_by_role("heading", name=name, exact=True).first).to_be_visible()


async def test_a_request_can_be_tried_with_a_key(open_tab: OpenTab, service: Service) -> None:
    task = await service.finished(txt2img())
    tab = await open_tab()
    page = tab.page
    await page.goto(tab.url + "/docs")
    await page.get_by_role("button", name="Authorize").first.click()
    await page.get_by_label("auth-bearer-value").fill("alice-key")
    await page.get_by_role("button", name="Apply credentials").first.click()
    await page.get_by_role("button", name="Close").first.click()
    await page.get_by_role("button", name="get /v1/tasks/{id}", exact=True).click()
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_placeholder("id").fill(task["id"])
    async with page.expect_response(lambda response: task["id"] in response.url) as waited:
        await page.get_by_role("button", name="Execute").click()
    assert json.loads(await (await waited.value).text())["id"] == task["id"]
