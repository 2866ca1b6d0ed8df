"""What one owner may have and do: subscriptions, replays, rotations, pings."""

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.core.event import EVENT_TYPES
from service.core.examples import example_data
from tests.conftest import TXT2IMG, Service, Subscriber, running, txt2img
from tests.test_deliveries_api import settled
from tests.test_subscriptions_api import PUBLIC, change, subscribe


async def test_one_more_subscription_than_the_limit_is_409(env: dict[str, str]) -> None:
    async with running(env | {"MAX_SUBSCRIPTIONS": "2"}) as service:
        first = await subscribe(service, PUBLIC)
        await subscribe(service, PUBLIC)
        refused = await service.client.post("/v1/subscriptions", json={"url": PUBLIC})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert (await service.bob.post("/v1/subscriptions", json={"url": PUBLIC})).status_code == 201
        await service.client.delete(f"/v1/subscriptions/{first['id']}")
        await subscribe(service, PUBLIC)


async def test_the_eleventh_rotation_of_a_day_is_refused(service: Service) -> None:
    made = await subscribe(service, PUBLIC)
    path = f"/v1/subscriptions/{made['id']}/rotate-secret"
    statuses = [(await service.client.post(path)).status_code for _ in range(12)]
    assert statuses == [200] * 10 + [409, 409]


async def test_a_replay_or_retry_to_a_disabled_subscription_is_409(service: Service, subscriber: Subscriber) -> None:
    made = await subscribe(service, subscriber.url)
    await service.finished(TXT2IMG)
    [row] = await settled(service, "delivered")
    await change(service, made, enabled=False)
    for path, body in ((f"subscriptions/{made['id']}/replay", {"after": 0}), (f"deliveries/{row['id']}/retry", None)):
        assert (await service.client.post(f"/v1/{path}", json=body)).status_code == 409
    await change(service, made, enabled=True)
    assert (await service.client.post(f"/v1/deliveries/{row['id']}/retry")).status_code == 202


async def test_while_a_replay_runs_another_is_409_and_it_outlives_a_restart(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    go_on = asyncio.Event()

    async def answer(request: Request, body: bytes) -> Response:
        await go_on.wait()
        return Response(status_code=204)

    subscriber.answer = answer
    async with running(env) as service:
        for _ in range(30):
            await service.submit(txt2img("delay=0"))
        while len((await service.client.get("/v1/events?limit=100&types=task.completed")).json()["data"]) < 30:
            await asyncio.sleep(0.05)
        types = ["task.queued", "task.submitted", "task.processing", "task.completed"]
        made = await subscribe(service, subscriber.url, events=types)
        path = f"/v1/subscriptions/{made['id']}/replay"
        first = await service.client.post(path, json={"after": 0})
        assert (first.status_code, first.json()["queued"]) == (202, 120)
        await subscriber.count(8)
        assert (await service.client.post(path, json={"after": 0})).status_code == 409
        # A cursor, not a row each.
        listed = (await service.client.get("/v1/deliveries", params={"limit": 200})).json()["data"]
        assert len(listed) < 100
    go_on.set()
    async with running(env) as service:
        await subscriber.until(lambda: len({event["id"] for event in subscriber.events}) == 120)
        while (await service.client.post(path, json={"after": 0})).status_code != 202:
            await asyncio.sleep(0.05)


async def test_a_ping_with_a_type_sends_that_events_example(service: Service, subscriber: Subscriber) -> None:
    made = await subscribe(service, subscriber.url, events=["task.failed"])
    other = await subscribe(service, subscriber.url + "/other", events=["task.completed", "ping"])
    path = f"/v1/subscriptions/{made['id']}/ping"
    response = await service.client.post(path, json={"type": "task.completed"})
    assert (response.status_code, response.json()["status"]) == (200, "delivered")
    [(headers, body)] = subscriber.received
    event = orjson.loads(body)
    assert (event["type"], event["test"], event["data"]["status"]) == ("task.completed", True, "completed")
    assert (headers["ce-type"], headers["webhook-id"]) == ("task.completed", event["id"])
    assert "ce-subject" not in headers
    bad = await service.client.post(path, json={"type": "task.done"})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/type")
    # Nobody else hears it, and no reader takes it for a task that is done.
    assert (await service.client.get("/v1/events?types=task.completed")).json()["data"] == []
    assert (await service.client.get(f"/v1/deliveries?subscription_id={other['id']}")).json()["data"] == []


async def test_an_example_has_the_fields_of_a_real_task(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    example = example_data("task.completed")
    assert example.keys() == task.keys()
    assert example["output"].keys() == task["output"].keys()
    for event_type in EVENT_TYPES:
        assert example_data(event_type)


async def test_two_subscriptions_at_each_others_ping_door_end(service: Service) -> None:
    key = {"X-API-Key": "alice-key"}
    one = await subscribe(service, f"{service.url}/hook", events=["ping"], headers=key)
    two = await subscribe(service, f"{service.url}/v1/subscriptions/{one['id']}/ping", events=["ping"], headers=key)
    await change(service, one, url=f"{service.url}/v1/subscriptions/{two['id']}/ping")
    response = await service.client.post(f"/v1/subscriptions/{one['id']}/ping")
    assert response.json()["attempts"][0]["status_code"] == 409
    pings = (await service.client.get("/v1/events?types=ping")).json()["data"]
    assert len(pings) == 1
