"""What is on each page by its accessible name, and what its buttons do."""

import re
import secrets

import httpx
import pytest
from playwright.async_api import Locator, Page, expect
from starlette.responses import Response

from tests.conftest import TXT2IMG, Service, Subscriber, img2img, txt2img
from tests.page.conftest import OpenTab, Tab

pytestmark = pytest.mark.asyncio(loop_scope="session")


def button(place: Page | Locator, name: str) -> Locator:
    return place.get_by_role("button", name=name, exact=True)


def region(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


async def heading(page: Page) -> str:
    return await page.get_by_role("heading", level=1).inner_text()


async def test_signing_in_and_out(tab: Tab) -> None:
    page = tab.page
    await page.goto(tab.url + "/tasks?status=failed")
    assert await heading(page) == "Sign in"
    await page.get_by_label("API key", exact=True).fill("alice-key")
    await button(page, "Sign in").click()
    await page.wait_for_url(tab.url + "/tasks?status=failed")
    await button(page, "Sign out").click()
    await page.wait_for_url(tab.url + "/login")
    await page.goto(tab.url + "/")
    assert await heading(page) == "Sign in"


async def test_every_page_has_its_heading_and_the_same_links(tab: Tab) -> None:
    names = {"Now": "/", "Tasks": "/tasks", "Subscriptions": "/subscriptions", "Deliveries": "/deliveries"}
    names["Try it"] = "/try"
    page = await tab.open("/")
    for name, path in names.items():
        await page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()
        await page.wait_for_url(tab.url + path)
        assert await heading(page) == name
        assert await page.locator("link[rel=icon]").count() == 1


async def test_now_shows_what_needs_attention_runs_and_came_out(
    tab: Tab, service: Service, subscriber: Subscriber
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500 if request.url.path == "/hook" else 410)
    for url in (subscriber.url, subscriber.url.replace("/hook", "/gone")):
        await service.client.post("/v1/subscriptions", json={"url": url})
    done = await service.finished(txt2img())
    failed = await service.finished(txt2img('fail="not today"'))
    open_task = await service.submit(txt2img("hold=now"))
    await service.event(open_task["id"], "task.processing")
    page = await tab.open("/")
    attention = region(page, "Needs attention")
    await expect(attention.get_by_role("link", name=failed["id"])).to_have_attribute("href", f"/tasks/{failed['id']}")
    await expect(attention).to_contain_text("not today")
    # Both come by themselves: the deliveries fail while the page is open.
    await expect(attention.get_by_role("link", name=subscriber.url).first).to_be_visible()
    await expect(attention.get_by_text("disabled", exact=True)).to_be_visible()
    progress = region(page, "In progress")
    await expect(progress.get_by_role("link", name=open_task["id"])).to_be_visible()
    picture = region(page, "Latest results").get_by_role("img").first
    await expect(picture).to_have_attribute("src", done["output"]["url"])
    assert await picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


async def test_trouble_that_is_cut_off_leads_to_all_of_it(tab: Tab, service: Service) -> None:
    for _ in range(4):
        await service.finished(txt2img('fail="not today"'))
    page = await tab.open("/")
    every = region(page, "Needs attention").get_by_role("link", name="All failed tasks", exact=True)
    await expect(every).to_have_count(0)
    await service.finished(txt2img('fail="not today"'))
    await expect(every).to_have_attribute("href", "/tasks?status=failed")


async def test_tasks_are_found_by_each_field(tab: Tab, service: Service) -> None:
    wanted = await service.finished(img2img(metadata={"order": "A-17"}))
    other = await service.finished(txt2img('fail="no"'))
    page = await tab.open("/tasks")
    rows = page.get_by_role("table").get_by_role("link")
    await expect(rows).to_have_count(2)

    async def found(fill: dict[str, str]) -> list[str]:
        await page.goto(tab.url + "/tasks")
        for name, value in fill.items():
            field = page.get_by_label(name, exact=True)
            await (field.select_option(value) if name in ("Status", "Provider") else field.fill(value))
        async with page.expect_navigation():
            await button(page, "Filter").click()
        return await rows.all_inner_texts()

    assert await found({"Status": "failed"}) == [other["id"]]
    assert await found({"Provider": "modelslab"}) == [wanted["id"]]
    assert await found({"Model": "flux"}) == [wanted["id"]]
    assert await found({"Metadata": "order=A-17"}) == [wanted["id"]]
    assert await found({"Metadata": "order=A-17", "Status": "failed"}) == []


async def test_a_long_list_goes_on_with_next(tab: Tab, service: Service) -> None:
    ids = [(await service.submit(txt2img("queue=pages")))["id"] for _ in range(51)]
    page = await tab.open("/tasks?status=queued")
    await page.goto(tab.url + "/tasks?provider=piapi")
    await expect(page.get_by_role("table").get_by_role("link")).to_have_count(50)
    await page.get_by_role("link", name="Next", exact=True).click()
    await expect(page.get_by_role("table").get_by_role("link")).to_have_text([ids[0]])
    await expect(page.get_by_label("Provider")).to_have_value("piapi")
    await expect(page.get_by_role("link", name="Next", exact=True)).to_have_count(0)


async def test_a_task_moves_from_queued_to_its_picture_without_a_reload(
    tab: Tab, service: Service, sandbox: str
) -> None:
    hold = secrets.token_hex(4)
    task = await service.submit(txt2img(f"hold={hold}", metadata={"order": "A-17"}))
    page = await tab.open(f"/tasks/{task['id']}")
    assert await heading(page) == task["id"]
    status = page.get_by_role("status")
    await expect(status).to_have_text("processing")
    await expect(page.get_by_role("progressbar")).to_be_visible()
    await expect(button(page, "Cancel")).to_be_visible()
    await page.evaluate("window.untouched = true")
    async with httpx.AsyncClient() as client:
        await client.post(f"{sandbox}/sandbox/release/{hold}")
    await expect(status).to_have_text("completed")
    await expect(region(page, "Result").get_by_role("img")).to_be_visible()
    await expect(page.get_by_role("progressbar")).to_have_count(0)
    await expect(button(page, "Cancel")).to_have_count(0)
    await expect(button(page, "Send again")).to_have_count(0)
    moves = region(page, "Timeline").get_by_role("listitem")
    await expect(moves.filter(has_text="Completed")).to_contain_text(re.compile(r"\+\d"))
    await expect(region(page, "Callbacks").get_by_text("accepted").first).to_be_visible()
    assert await page.evaluate("window.untouched")


async def test_the_request_is_copied_without_a_key(open_tab: OpenTab, service: Service) -> None:
    task = await service.finished(txt2img())
    tab = await open_tab(permissions=["clipboard-read", "clipboard-write"])
    page = await tab.open(f"/tasks/{task['id']}")
    await button(region(page, "Request"), "Copy").click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl ")
    assert "$CALLBRIDGE_KEY" in copied
    assert "alice-key" not in await page.content()
    assert TXT2IMG["model"] in copied


async def test_why_a_webhook_did_not_arrive_is_on_one_screen(
    tab: Tab, service: Service, subscriber: Subscriber
) -> None:
    subscriber.answer = lambda request, body: Response("no such table: orders", status_code=500)
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    task = await service.finished(txt2img())
    page = await tab.open(f"/tasks/{task['id']}")
    timeline, deliveries = region(page, "Timeline"), region(page, "Deliveries")
    await expect(timeline.get_by_text("task.completed not delivered: 500")).to_have_count(3)
    await timeline.get_by_text("Response").first.click()
    await expect(timeline.get_by_text("no such table: orders").first).to_be_visible()
    await expect(deliveries.get_by_text("dead", exact=True)).to_be_visible()
    subscriber.answer = None
    await button(deliveries, "Retry").click()
    await expect(deliveries.get_by_text("delivered", exact=True)).to_be_visible()
    await expect(button(page, "Retry")).to_have_count(0)


async def test_a_task_is_canceled_and_a_failed_one_sent_again(tab: Tab, service: Service) -> None:
    running_task = await service.submit(txt2img("hold=cancel"))
    page = await tab.open(f"/tasks/{running_task['id']}")
    await button(page, "Cancel").click()
    await expect(page.get_by_role("status")).to_have_text("canceled")
    failed = await service.finished(txt2img(f"submit=400 times=1 text={secrets.token_hex(4)}"))
    await page.goto(f"{tab.url}/tasks/{failed['id']}")
    await expect(page.get_by_role("status")).to_have_text("failed")
    await button(page, "Send again").click()
    await expect(page.get_by_role("status")).to_have_text("completed")


async def test_a_refused_callback_is_in_the_timeline_for_an_admin(open_tab: OpenTab, service: Service) -> None:
    task = await service.submit(txt2img("callback=bad_secret"))
    for key, count in (("alice-key", 0), ("ops-key", 1)):
        page = await (await open_tab()).open(f"/tasks/{task['id']}", key)
        refused = region(page, "Timeline").get_by_text("401")
        await (expect(refused.first).to_be_visible() if count else expect(refused).to_have_count(0))
        await expect(region(page, "Callbacks").get_by_text("refused").first).to_be_visible()


async def test_an_admin_sees_whose_everything_is(open_tab: OpenTab, service: Service, subscriber: Subscriber) -> None:
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    await service.finished(txt2img())
    await subscriber.count(1)
    admin, bob = await open_tab(), await open_tab()
    for path in ("/tasks", "/subscriptions", "/deliveries"):
        await expect((await admin.open(path, "ops-key")).get_by_role("cell", name="alice")).to_be_visible()
        await expect((await bob.open(path, "bob-key")).get_by_text("alice")).to_have_count(0)


async def test_a_subscription_from_its_secret_to_its_end(tab: Tab, service: Service, subscriber: Subscriber) -> None:
    page = await tab.open("/subscriptions")
    for name in ("task.completed", "task.failed", "task.canceled"):
        await expect(page.get_by_label(name, exact=True)).to_be_checked()
    await page.get_by_label("URL", exact=True).fill(subscriber.url)
    await page.get_by_label("Description", exact=True).fill("the shop")
    await page.get_by_label("task.queued", exact=True).check()
    await button(page, "Subscribe").click()
    secret = await page.get_by_text("whsec_").inner_text()
    await expect(button(page, "Copy")).to_be_visible()
    await page.reload()
    await expect(page.get_by_text("whsec_")).to_have_count(0)
    made = (await service.client.get("/v1/subscriptions")).json()["data"][0]
    assert made["events"] == ["task.queued", "task.completed", "task.failed", "task.canceled"] or set(
        made["events"]
    ) == {"task.queued", "task.completed", "task.failed", "task.canceled"}

    await page.get_by_role("link", name=subscriber.url).click()
    assert await heading(page) == subscriber.url
    await button(page, "Ping").click()
    await expect(page.get_by_text(re.compile("Ping: delivered, the receiver responded 204"))).to_be_visible()
    await button(page, "Rotate secret").click()
    assert (await page.get_by_text("whsec_").inner_text()) != secret
    await service.finished(txt2img())
    await subscriber.count(3)
    await page.get_by_label("From", exact=True).fill("2026-01-31T12:00")
    await button(page, "Replay").click()
    await expect(page.get_by_text("Replaying 2 events.")).to_be_visible()
    await subscriber.count(5)
    await button(page, "Disable").click()
    await expect(button(page, "Disable")).to_have_count(0)
    await button(page, "Enable").click()
    await expect(page.get_by_text("enabled", exact=True)).to_be_visible()
    await expect(page.get_by_text("Success rate")).to_be_visible()
    await button(page, "Remove").click()
    await button(page, "Remove").click()
    await page.wait_for_url(tab.url + "/subscriptions")
    assert (await service.client.get("/v1/subscriptions")).json()["data"] == []


async def test_deliveries_are_filtered_and_all_dead_ones_tried_again(
    tab: Tab, service: Service, subscriber: Subscriber
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500)
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    for _ in range(2):
        await service.finished(txt2img())
    page = await tab.open("/deliveries")
    dead = page.get_by_role("cell", name="dead")
    await expect(dead).to_have_count(2)
    subscriber.answer = None
    await button(page, "Retry").first.click()
    await expect(page.get_by_role("cell", name="delivered")).to_have_count(1)
    await button(page, "Retry all dead").click()
    await expect(page.get_by_role("cell", name="delivered")).to_have_count(2)
    await expect(button(page, "Retry all dead")).to_have_count(0)
    await page.get_by_label("Status", exact=True).select_option("dead")
    await button(page, "Filter").click()
    await expect(page.get_by_role("row")).to_have_count(0)


async def test_charts_are_tables_to_a_screen_reader(tab: Tab, service: Service) -> None:
    await service.finished(txt2img())
    page = await tab.open("/")
    table = page.get_by_role("table", name="Tasks by the hour")
    await expect(table.get_by_role("row")).to_have_count(2)
    await expect(table.get_by_role("row").last).to_contain_text("1")
    await expect(page.get_by_role("region", name="Time to result").get_by_role("row")).to_have_count(2)
