"""Everything can be done without scripts, and from the keyboard alone; bad input comes back with an alert."""

import httpx
import pytest
from playwright.async_api import Page, expect
from starlette.responses import Response

from tests.conftest import Service, Subscriber, txt2img
from tests.page.conftest import OpenTab, Tab, signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).first.click()


async def test_every_action_works_without_scripts(open_tab: OpenTab, service: Service, subscriber: Subscriber) -> None:
    tab = await open_tab(java_script_enabled=False)
    page = await tab.open("/subscriptions")
    await page.get_by_label("URL", exact=True).fill(subscriber.url)
    await press(page, "Subscribe")
    await expect(page.get_by_text("whsec_")).to_be_visible()
    await page.get_by_role("link", name=subscriber.url).click()
    for name, said in (
        ("Ping", "the receiver responded 204"),
        ("Rotate secret", "whsec_"),
        ("Replay", "Replaying"),
        ("Disable", "Disabled"),
        ("Enable", "Enabled"),
    ):
        await press(page, name)
        await expect(page.get_by_text(said).first).to_be_visible()
    subscriber.answer = lambda request, body: Response(status_code=500)
    failed = await service.finished(txt2img('fail="no"'))
    await subscriber.count(4)
    page = await tab.open(f"/tasks/{failed['id']}")
    await press(page, "Send again")
    await expect(page.get_by_text("Queued to be sent again.")).to_be_visible()
    held = await service.submit(txt2img("hold=scripts"))
    page = await tab.open(f"/tasks/{held['id']}")
    await press(page, "Cancel")
    await expect(page.get_by_role("status")).to_have_text("canceled")
    await press(page, "Sign out")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_dead_deliveries_are_tried_again_without_scripts(
    open_tab: OpenTab, service: Service, subscriber: Subscriber
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500)
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    for _ in range(2):
        await service.finished(txt2img())
    await subscriber.count(6)
    tab = await open_tab(java_script_enabled=False)
    page = await tab.open("/deliveries")
    while await page.get_by_role("cell", name="dead").count() < 2:
        await page.reload()
    await press(page, "Retry")
    await expect(page.get_by_text("The delivery is being retried.")).to_be_visible()
    subscriber.answer = None
    while await page.get_by_role("cell", name="pending").count():
        await page.reload()
    if await page.get_by_role("button", name="Retry all dead").count():
        await press(page, "Retry all dead")
        await expect(page.get_by_text("again.").first).to_be_visible()


async def test_the_keyboard_is_enough(tab: Tab, service: Service) -> None:
    page = tab.page
    await page.goto(tab.url + "/login")
    await page.keyboard.type("alice-key")
    await page.keyboard.press("Enter")
    await page.wait_for_url(tab.url + "/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await focus(page, page.get_by_role("link", name="Try it", exact=True))
    await page.keyboard.press("Enter")
    await page.wait_for_url(tab.url + "/try")
    await focus(page, page.get_by_label("prompt", exact=True))
    await page.keyboard.type("a cat [sandbox: delay=0.05]")
    await focus(page, page.get_by_role("button", name="Submit", exact=True))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("completed")


async def focus(page: Page, place: object) -> None:
    """By Tab, and every stop on the way shows where the focus is."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
        if await place.evaluate("element => element === document.activeElement"):  # type: ignore[attr-defined]
            return
    raise AssertionError("Tab does not reach it")


@pytest.mark.parametrize(
    ("path", "form", "kept"),
    [
        ("/subscriptions", {"url": "nonsense", "description": "my shop", "events": "task.failed"}, "my shop"),
        ("/subscriptions", {"url": "ftp://example.com", "events": "task.failed"}, "ftp://example.com"),
        ("/subscriptions", {"url": "https://example.com/kept"}, "https://example.com/kept"),
        ("/subscriptions/{id}/replay", {"from": "yesterday"}, "yesterday"),
        ("/try", {"provider": "piapi", "model": "x", "task_type": "y", "json": "[1]"}, "[1]"),
        ("/try", {"provider": "nobody", "model": "x", "task_type": "y", "json": '{"a": 1}'}, "&#34;a&#34;: 1"),
        ("/try", {}, "Try it"),
    ],
)
async def test_bad_input_shows_the_form_again_with_an_alert(
    service: Service, subscriber: Subscriber, path: str, form: dict[str, str], kept: str
) -> None:
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    async with signed_in(service) as client:
        response = await client.post(path.format(id=made["id"]), data=form)
    assert response.status_code == 422
    assert 'role="alert"' in response.text
    assert "see errors" not in response.text, "a page has no list of that name"
    assert kept in response.text


@pytest.mark.parametrize("query", ["status=nonsense", "metadata=nokey", "metadata==x", "cursor=x"])
async def test_a_bad_filter_shows_an_alert(service: Service, query: str) -> None:
    async with signed_in(service) as client:
        for path in ("/tasks", "/deliveries"):
            if "metadata" in query and path == "/deliveries":
                continue
            response = await client.get(f"{path}?{query}")
            assert response.status_code == 422, path
            assert 'role="alert"' in response.text
            assert query.partition("=")[2] in response.text or "cursor" in query


async def test_what_cannot_be_done_now_is_409_on_the_same_page(service: Service, subscriber: Subscriber) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500)
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    task = await service.finished(txt2img())
    await subscriber.count(3)
    await service.client.patch(f"/v1/subscriptions/{made['id']}", json={"enabled": False})
    delivery = (await service.client.get("/v1/deliveries")).json()["data"][0]
    async with signed_in(service) as client:
        for path in (
            f"/tasks/{task['id']}/cancel",
            f"/tasks/{task['id']}/resubmit",
            f"/deliveries/{delivery['id']}/retry",
        ):
            response = await client.post(path)
            assert response.status_code == 409, path
            assert 'role="alert"' in response.text


@pytest.mark.parametrize(
    "path",
    [
        "/tasks/{task}",
        "/tasks/{task}/cancel",
        "/subscriptions/{sub}",
        "/subscriptions/{sub}/ping",
        "/subscriptions/{sub}/rotate",
        "/subscriptions/{sub}/remove",
        "/deliveries/{delivery}/retry",
    ],
)
async def test_somebody_elses_things_are_not_there(service: Service, subscriber: Subscriber, path: str) -> None:
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    task = await service.finished(txt2img())
    await subscriber.count(1)
    delivery = (await service.client.get("/v1/deliveries")).json()["data"][0]
    address = path.format(task=task["id"], sub=made["id"], delivery=delivery["id"])
    async with signed_in(service, "bob-key") as bob:
        posted = address.count("/") == 3
        response = await (bob.post(address) if posted else bob.get(address))
        assert response.status_code == 404
        assert task["model"] not in response.text


async def test_a_notice_of_somebody_else_shows_no_secret(service: Service, subscriber: Subscriber) -> None:
    async with signed_in(service) as alice:
        made = await alice.post("/subscriptions", data={"url": subscriber.url, "events": "task.failed"})
        assert made.status_code == 303
        notice = alice.cookies["callbridge_notice"]
    assert "whsec" not in notice
    async with signed_in(service, "bob-key") as bob:
        bob.cookies.set("callbridge_notice", notice)
        assert "whsec_" not in (await bob.get("/subscriptions")).text
    async with httpx.AsyncClient(base_url=service.url) as nobody:
        assert (await nobody.get("/subscriptions")).status_code == 303
