"""What moves without a reload, also over a restart of the service, and that nothing is asked again and again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect
from starlette.responses import Response

from service.tools.harness.ports import free_port
from service.web.page import live
from tests.conftest import PATIENCE, Service, Subscriber, environment, running, txt2img
from tests.page.conftest import Tab, new_tab
from tests.servers import fresh_database

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_open_page_survives_a_restart(browser: Browser, sandbox: str, tmp_path: Path) -> None:
    env = environment(sandbox, tmp_path, free_port())
    async with running(env) as service:
        task = await service.submit(txt2img("hold=restart"))
        await service.event(task["id"], "task.processing")
        tab = await new_tab(browser, service.url, {service.url, sandbox})
        page = await tab.open(f"/tasks/{task['id']}")
        await expect(page.get_by_role("status")).to_have_text("processing")
    async with running(env):
        async with httpx.AsyncClient() as client:
            await client.post(f"{sandbox}/sandbox/release/restart")
        await expect(page.get_by_role("status")).to_have_text("completed", timeout=20_000)
        await expect(page.get_by_role("region", name="Result").get_by_role("img")).to_be_visible()
    await tab.context.close()


async def test_a_failing_delivery_moves_while_it_is_looked_at(
    tab: Tab, service: Service, subscriber: Subscriber
) -> None:
    held = asyncio.Event()

    async def answer() -> Response:
        await held.wait()
        return Response(status_code=500)

    subscriber.answer = lambda request, body: answer()
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    await service.finished(txt2img())
    await subscriber.count(1)
    page = await tab.open("/deliveries")
    row = page.get_by_role("row").last
    await expect(row).to_contain_text("not tried yet")
    held.set()
    await expect(row).to_contain_text("3 attempts")
    await expect(row.get_by_role("button", name="Retry")).to_be_visible()


async def test_an_open_page_fetches_itself_while_other_processes_run(
    sandbox: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_AGAIN", 0.1)
    env = environment(sandbox, tmp_path, free_port()) | {"DATABASE_URL": fresh_database()}
    async with running(env) as one, running(env | {"PORT": str(free_port())}):
        login = await one.anybody.post("/login", data={"key": "bob-key"})
        cookies = {"callbridge_session": login.cookies["callbridge_session"]}
        async with httpx.AsyncClient(base_url=one.url, cookies=cookies) as bob, bob.stream("GET", "/live") as stream:
            lines = stream.aiter_lines()
            # The first is the beginning of the stream; no event and no attempt of this process brings the others.
            assert [line async for line in changes(lines, 3)] == ["event: change"] * 3


async def changes(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    async with asyncio.timeout(PATIENCE):
        async for line in lines:
            if line.startswith("event:"):
                yield line
                count -= 1
                if not count:
                    return


async def test_an_idle_page_asks_for_nothing(tab: Tab) -> None:
    await tab.open("/subscriptions")  # which has no stream
    asked: asyncio.Queue[str] = asyncio.Queue()

    def note(address: str) -> None:
        if address.endswith(("/tasks", "/live")):
            asked.put_nowait(address.removeprefix(tab.url))

    tab.page.on("request", lambda request: note(request.url))
    await tab.open("/tasks")
    # The page, its stream, and itself again, as the stream's first word makes it; then no more.
    assert [await asked.get() for _ in range(3)] == ["/tasks", "/live", "/tasks"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asked.get(), 1.5)


async def test_the_stream_is_for_those_who_are_signed_in(service: Service) -> None:
    assert (await service.anybody.get("/live")).status_code == 303
    task = await service.submit(txt2img())
    login = await service.anybody.post("/login", data={"key": "bob-key"})
    cookies = {"callbridge_session": login.cookies["callbridge_session"]}
    async with httpx.AsyncClient(base_url=service.url, cookies=cookies) as bob:
        assert (await bob.get("/live", params={"task": task["id"]})).status_code == 404


async def test_opened_details_and_what_is_typed_stay(tab: Tab, service: Service) -> None:
    task = await service.submit(txt2img("hold=stay"))
    page = await tab.open(f"/tasks/{task['id']}")
    await expect(page.get_by_role("status")).to_have_text("processing")
    details = page.get_by_text("As stored")
    await details.click()
    stored = page.locator("details", has=details).locator("pre")
    await expect(stored).to_contain_text('"status": "processing"')
    await service.client.post(f"/v1/tasks/{task['id']}/cancel")
    await expect(stored).to_contain_text('"status": "canceled"')


async def test_the_text_of_a_held_stream_grows(tab: Tab, service: Service, sandbox: str) -> None:
    prompt = '[sandbox: hold=growing text="one two three four five six seven eight"]'
    body = {"messages": [{"role": "user", "content": prompt}]}
    task = await service.submit(
        {"provider": "piapi", "model": "gpt-4o", "task_type": "chat-completions", "input": body}
    )
    page = await tab.open(f"/tasks/{task['id']}")
    result = page.get_by_role("region", name="Result")
    await expect(result).to_contain_text("one")
    await expect(result).not_to_contain_text("eight")
    await expect(page.get_by_role("progressbar")).to_be_visible()
    async with httpx.AsyncClient() as client:
        await client.post(f"{sandbox}/sandbox/release/growing")
    await expect(result).to_contain_text("seven eight")
    await expect(page.get_by_role("status")).to_have_text("completed")


async def test_questions_to_the_provider_are_in_the_timeline(browser: Browser, sandbox: str, tmp_path: Path) -> None:
    env = environment(sandbox, tmp_path, free_port()) | {"SWEEP_AFTER": "0.1"}
    async with running(env) as service:
        task = await service.submit(txt2img("callback=none hold=asked"))
        await service.event(task["id"], "task.processing")
        tab = await new_tab(browser, service.url, {service.url, sandbox})
        page = await tab.open(f"/tasks/{task['id']}")
        async with httpx.AsyncClient() as client:
            await client.post(f"{sandbox}/sandbox/release/asked")
        await expect(page.get_by_role("status")).to_have_text("completed")
        questions = (
            page.get_by_role("region", name="Timeline").get_by_role("listitem").filter(has_text="Asked the provider")
        )
        await expect(questions.last).to_contain_text("completed")
        await tab.context.close()
    assert not tab.wrong


async def test_a_page_of_somebody_signed_out_leads_to_the_login(browser: Browser, sandbox: str, tmp_path: Path) -> None:
    env = environment(sandbox, tmp_path, free_port())
    async with running(env) as service:
        tab = await new_tab(browser, service.url, {service.url, sandbox})
        page = await tab.open("/")
        await expect(page.get_by_text("Nothing is running.")).to_be_visible()
    async with running(env | {"API_KEYS": "bob:bob-key"}):
        await page.wait_for_url("**/login?next=/")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await tab.context.close()


async def test_a_page_with_an_alert_goes_on_moving(tab: Tab, service: Service, subscriber: Subscriber) -> None:
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    page = await tab.open(f"/subscriptions/{made['id']}")
    tab.wrong.append("")  # the browser logs the 422 of the form as an error
    await page.get_by_label("From", exact=True).fill("yesterday")
    await page.get_by_role("button", name="Replay", exact=True).click()
    await expect(page.get_by_role("alert")).to_be_visible()
    task = await service.finished(txt2img())
    await expect(page.get_by_role("link", name=task["id"])).to_be_visible()
    await expect(page.get_by_label("From", exact=True)).to_have_value("yesterday")
    tab.wrong.clear()
