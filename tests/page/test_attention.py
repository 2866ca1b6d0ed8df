"""What the first page says needs somebody: only what somebody can do something about, and all of that."""

import asyncio

import pytest
from starlette.responses import Response

from tests.conftest import PATIENCE, Service, Subscriber, txt2img
from tests.page.conftest import signed_in

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOTHING = "Nothing needs attention."


async def test_dead_deliveries_of_a_removed_subscription_need_no_attention(
    service: Service, subscriber: Subscriber
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500)
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    await service.finished(txt2img())
    await subscriber.count(3)
    async with signed_in(service) as browser, asyncio.timeout(PATIENCE):
        while "task.completed for" not in (await browser.get("/")).text:
            await asyncio.sleep(0.02)
        await service.client.delete(f"/v1/subscriptions/{made['id']}")
        assert NOTHING in (await browser.get("/")).text
        assert "Retry all dead" not in (await browser.get("/deliveries")).text
        assert len((await service.client.get("/v1/deliveries?status=dead")).json()["data"]) == 1


async def test_a_disabled_subscription_is_shown_however_many_newer_ones_there_are(service: Service) -> None:
    for n in range(202):
        made = await service.client.post("/v1/subscriptions", json={"url": f"http://127.0.0.1:9/{n}"})
        if n == 0:
            await service.client.patch(f"/v1/subscriptions/{made.json()['id']}", json={"enabled": False})
    async with signed_in(service) as browser:
        assert "http://127.0.0.1:9/0</a>" in (await browser.get("/")).text
