"""Section 6 of the API, second half: what is sent, what is tried again, what is given up, and what one sees of it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from email.utils import formatdate
from time import time
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service import __version__
from service.core.times import now_ms
from service.settings import load_settings
from service.store.sqlite.store import open_store
from service.tools.harness.ports import free_port
from service.workers import memory
from tests.conftest import TXT2IMG, Service, Subscriber, running, txt2img
from tests.store.parts import a_subscription, sent


async def subscribe(service: Service, url: str, **fields: Any) -> dict[str, Any]:
    response = await service.client.post("/v1/subscriptions", json={"url": url, **fields})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def rows(service: Service, **query: str | int) -> list[dict[str, Any]]:
    response = await service.client.get("/v1/deliveries", params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]
    return found


async def settled(service: Service, status: str, count: int = 1) -> list[dict[str, Any]]:
    """Deliveries once that many are recorded as `status`: the record is written just after the answer."""
    async with asyncio.timeout(20):
        while len(found := await rows(service, status=status)) < count:
            pass
    return found


def answers(*statuses: int, headers: dict[str, str] | None = None) -> Callable[[Request, bytes], Response]:
    """Each status once, then 204."""
    left = list(statuses)

    def answer(request: Request, body: bytes) -> Response:
        return Response(status_code=left.pop(0), headers=headers) if left else Response(status_code=204)

    return answer


async def test_a_delivery_is_a_signed_post_of_the_event_as_json(service: Service, subscriber: Subscriber) -> None:
    made = await subscribe(service, subscriber.url)
    await service.submit(TXT2IMG)
    await subscriber.count(1)
    headers, body = subscriber.received[0]
    event = orjson.loads(body)
    assert headers["content-type"] == "application/json"
    assert headers["accept"] == "*/*"
    assert headers["user-agent"] == f"Callbridge/{__version__}"
    assert headers["webhook-id"] == event["id"]
    assert abs(int(headers["webhook-timestamp"]) - time()) < 60
    assert headers["webhook-signature"].startswith("v1,")
    Webhook(made["secret"]).verify(body, headers)


async def test_a_row_shows_where_it_went_and_each_attempt(service: Service, subscriber: Subscriber) -> None:
    made = await subscribe(service, subscriber.url)
    task = await service.submit(TXT2IMG)
    [row] = await settled(service, "delivered")
    event = subscriber.events[0]
    assert row["id"].startswith("dlv_")
    assert (row["event_id"], row["event_type"], row["task_id"]) == (event["id"], "task.completed", task["id"])
    assert (row["subscription_id"], row["url"], row["next_attempt_at"]) == (made["id"], subscriber.url, None)
    [attempt] = row["attempts"]
    assert (attempt["status_code"], attempt["error"]) == (204, None)
    assert attempt["duration_ms"] >= 0
    assert attempt["at"].endswith("Z")


async def test_each_attempt_names_the_address_it_went_to(service: Service, subscriber: Subscriber) -> None:
    made = await subscribe(service, subscriber.url + "/old")

    async def move(request: Request, body: bytes) -> Response:
        if request.url.path.endswith("/new"):
            return Response(status_code=204)
        await service.client.patch(f"/v1/subscriptions/{made['id']}", json={"url": subscriber.url + "/new"})
        return Response(status_code=500)

    subscriber.answer = move
    await service.submit(TXT2IMG)
    [row] = await settled(service, "delivered")
    assert [attempt["url"] for attempt in row["attempts"]] == [subscriber.url + "/old", subscriber.url + "/new"]


@pytest.mark.parametrize("status", [301, 302, 308, 400, 401, 404, 409, 429, 500, 502])
async def test_anything_but_2xx_and_410_is_tried_again(service: Service, subscriber: Subscriber, status: int) -> None:
    subscriber.answer = answers(status)
    await subscribe(service, subscriber.url)
    await service.submit(TXT2IMG)
    [row] = await settled(service, "delivered")
    assert [attempt["status_code"] for attempt in row["attempts"]] == [status, 204]
    assert len({headers["webhook-id"] for headers, _ in subscriber.received}) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
async def test_any_2xx_is_delivered(service: Service, subscriber: Subscriber, status: int) -> None:
    subscriber.answer = answers(status)
    await subscribe(service, subscriber.url)
    await service.submit(TXT2IMG)
    [row] = await settled(service, "delivered")
    assert [attempt["status_code"] for attempt in row["attempts"]] == [status]


async def test_a_redirect_is_not_followed_and_named(service: Service, subscriber: Subscriber) -> None:
    target = subscriber.url + "/elsewhere"
    subscriber.answer = lambda request, body: RedirectResponse(target + "?secret=1")
    await subscribe(service, subscriber.url)
    await service.submit(TXT2IMG)
    [row] = await settled(service, "dead")
    assert target in row["attempts"][0]["error"]
    assert "secret" not in row["attempts"][0]["error"]
    assert len(subscriber.received) == len(row["attempts"]) == 3


async def test_a_target_that_cannot_be_reached_is_named_and_tried_again(service: Service) -> None:
    await subscribe(service, f"http://127.0.0.1:{free_port()}/")
    await service.submit(TXT2IMG)
    [row] = await settled(service, "dead")
    assert len(row["attempts"]) == 3
    assert row["attempts"][0]["status_code"] is None
    assert row["attempts"][0]["error"]


async def test_a_target_that_turned_private_is_refused_when_connecting(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    async with running(env) as service:
        await subscribe(service, subscriber.url)
    async with running(env | {"ALLOW_PRIVATE_TARGETS": "false", "RETRY_SCHEDULE": "0"}) as service:
        await service.submit(TXT2IMG)
        [row] = await settled(service, "dead")
    assert row["attempts"][0]["error"].startswith("refused_target")
    assert subscriber.received == []


async def test_after_the_schedule_a_delivery_is_dead_and_a_retry_counts_afresh(
    service: Service, subscriber: Subscriber
) -> None:
    subscriber.answer = answers(*[500] * 5)
    await subscribe(service, subscriber.url)
    await service.submit(TXT2IMG)
    [row] = await settled(service, "dead")
    response = await service.client.post(f"/v1/deliveries/{row['id']}/retry")
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    [row] = await settled(service, "delivered")
    assert [attempt["status_code"] for attempt in row["attempts"]] == [500] * 5 + [204]


async def test_the_jitter_is_at_most_a_fifth(env: dict[str, str], subscriber: Subscriber) -> None:
    subscriber.answer = answers(500)
    async with running(env | {"RETRY_SCHEDULE": "1000"}) as service:
        await subscribe(service, subscriber.url)
        await service.submit(TXT2IMG)
        await subscriber.count(1)
        [row] = await settled(service, "pending")
        while not row["attempts"]:
            [row] = await rows(service)
    assert 795 < (_seconds(row["next_attempt_at"]) - _seconds(row["attempts"][0]["at"])) < 1205


@pytest.mark.parametrize("asked", ["3600", "http-date", "999999999", "9" * 400])
async def test_retry_after_is_honoured_up_to_a_day(env: dict[str, str], subscriber: Subscriber, asked: str) -> None:
    value = formatdate(time() + 3600, usegmt=True) if asked == "http-date" else asked
    subscriber.answer = answers(503, headers={"Retry-After": value})
    async with running(env) as service:
        await subscribe(service, subscriber.url)
        await service.submit(TXT2IMG)
        await subscriber.count(1)
        [row] = await settled(service, "pending")
        while not row["attempts"]:
            [row] = await rows(service)
    waits = _seconds(row["next_attempt_at"]) - _seconds(row["attempts"][0]["at"])
    assert waits == pytest.approx(86_400 if asked.startswith("9") else 3600, abs=60)


async def test_a_tasks_events_are_first_attempted_in_order(service: Service, subscriber: Subscriber) -> None:
    moves = ["task.queued", "task.submitted", "task.processing", "task.completed"]
    await subscribe(service, subscriber.url, events=moves)
    subscriber.answer = answers(500, 500)
    tasks = [await service.submit(txt2img("delay=0")) for _ in range(5)]
    await settled(service, "delivered", 20)
    for task in tasks:
        first = dict.fromkeys(e["type"] for e in subscriber.events if e["data"]["id"] == task["id"])
        assert list(first) == moves


async def test_a_lane_that_found_no_room_in_memory_looks_on_disk(
    service: Service, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MOST", 0)
    await subscribe(service, subscriber.url)
    await service.submit(TXT2IMG)
    await settled(service, "delivered")


async def test_what_is_claimed_from_disk_goes_before_what_is_told_meanwhile(
    service: Service, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = service.bridge.store.queue
    next_due = queue.next_due

    async def slow_next_due(lane: str) -> int | None:
        monkeypatch.setattr(memory, "MOST", 100)
        [task] = (await service.client.get("/v1/tasks")).json()["data"]
        await service.event(task["id"], "task.completed")
        return await next_due(lane)

    moves = ["task.queued", "task.submitted", "task.completed"]
    await subscribe(service, subscriber.url, events=moves)
    monkeypatch.setattr(memory, "MOST", 0)
    monkeypatch.setattr(queue, "next_due", slow_next_due)
    await service.submit(TXT2IMG)
    await settled(service, "delivered", 3)
    assert subscriber.types == moves


async def test_a_hanging_subscriber_delays_nobody_else(env: dict[str, str], subscriber: Subscriber) -> None:
    hanging = asyncio.Event()

    async def answer(request: Request, body: bytes) -> Response:
        if request.url.path.endswith("/hanging"):
            await hanging.wait()
        return Response(status_code=204)

    subscriber.answer = answer
    async with running(env) as service:
        await subscribe(service, subscriber.url + "/hanging")
        good = await subscribe(service, subscriber.url)
        for _ in range(20):
            await service.finished(txt2img("delay=0"))
        found = [row for row in await settled(service, "delivered", 20) if row["subscription_id"] == good["id"]]
        assert len(found) == 20
        hanging.set()


async def test_a_delivery_that_takes_too_long_is_cut_and_tried_again(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    never = asyncio.Event()

    async def answer(request: Request, body: bytes) -> Response:
        if len(subscriber.received) == 1:
            await never.wait()
        return Response(status_code=204)

    subscriber.answer = answer
    async with running(env | {"DELIVERY_TIMEOUT": "0.2"}) as service:
        await subscribe(service, subscriber.url)
        await service.submit(TXT2IMG)
        [row] = await settled(service, "delivered")
        never.set()
    assert [attempt["status_code"] for attempt in row["attempts"]] == [None, 204]
    assert "time" in row["attempts"][0]["error"]


async def test_what_was_not_delivered_is_delivered_after_a_restart(env: dict[str, str], subscriber: Subscriber) -> None:
    subscriber.answer = answers(500)
    async with running(env | {"RETRY_SCHEDULE": "0.5"}) as service:
        await subscribe(service, subscriber.url)
        await service.submit(TXT2IMG)
        await subscriber.count(1)
    async with running(env) as service:
        [row] = await settled(service, "delivered")
    assert {headers["webhook-id"] for headers, _ in subscriber.received} == {row["event_id"]}


@pytest.mark.sqlite
async def test_what_a_restart_tells_stands_behind_what_waited_before(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    moves = ("task.queued", "task.unconfirmed")
    store = await open_store(load_settings(env).sqlite_path or "")
    await store.subscriptions.add(a_subscription(url=subscriber.url, events=moves))
    await store.workers.join(0, 1)
    await sent(store, created_at=now_ms(), deadline_at=now_ms() + 60_000)
    await store.close()
    async with running(env) as service:
        await settled(service, "delivered", 2)
    assert tuple(subscriber.types) == moves


async def test_what_waited_for_a_removed_subscription_leaves_the_memory(
    service: Service, subscriber: Subscriber
) -> None:
    ends = asyncio.Event()

    async def hang(request: Request, body: bytes) -> Response:
        await ends.wait()
        return Response(status_code=204)

    subscriber.answer = hang
    one = await subscribe(service, subscriber.url, events=["task.queued"])
    for _ in range(12):
        await service.submit(TXT2IMG)
    await subscriber.count(8)
    assert service.bridge.delivering.dispatcher.memory.used > 4 * 600
    await service.client.delete(f"/v1/subscriptions/{one['id']}")
    # Those under way may still be delivered.
    await settled(service, "dead", 4)
    ends.set()
    async with asyncio.timeout(20):
        while service.bridge.delivering.dispatcher.memory.used:
            await service.client.get("/healthz")


# --- what one sees ---


async def test_rows_are_filtered_by_subscription_task_and_status(service: Service, subscriber: Subscriber) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500 if request.url.path.endswith("/bad") else 204)
    good, bad = await subscribe(service, subscriber.url), await subscribe(service, subscriber.url + "/bad")
    one, other = await service.finished(TXT2IMG), await service.finished(TXT2IMG)
    await settled(service, "delivered", 2)
    await settled(service, "dead", 2)
    assert {row["subscription_id"] for row in await rows(service, status="dead")} == {bad["id"]}
    assert {row["task_id"] for row in await rows(service, subscription_id=good["id"])} == {one["id"], other["id"]}
    found = await rows(service, subscription_id=good["id"], task_id=one["id"], status="delivered")
    assert len(found) == 1


async def test_pages_are_complete_and_newest_first(service: Service, subscriber: Subscriber) -> None:
    await subscribe(service, subscriber.url)
    for _ in range(7):
        await service.finished(txt2img("delay=0"))
    seen, cursor = [], None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await service.client.get("/v1/deliveries", params=query)).json()
        seen += [row["id"] for row in page["data"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(seen) == 7
    assert seen == sorted(seen, reverse=True)


async def test_somebody_elses_deliveries_are_not_there(service: Service, subscriber: Subscriber) -> None:
    await subscribe(service, subscriber.url)
    await service.submit(TXT2IMG)
    [row] = await settled(service, "delivered")
    assert (await service.bob.get("/v1/deliveries")).json()["data"] == []
    assert (await service.bob.post(f"/v1/deliveries/{row['id']}/retry")).status_code == 404
    assert len((await service.admin.get("/v1/deliveries")).json()["data"]) == 1


@pytest.mark.parametrize(
    "delivery_id", ["dlv_0", "dlv_" + "f" * 16, "dlv_00000000000000ff", "x", "%00", "dlv_" + "9" * 5000]
)
async def test_an_unknown_delivery_is_404(service: Service, delivery_id: str) -> None:
    response = await service.client.post(f"/v1/deliveries/{delivery_id}/retry")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_a_delivery_whose_subscription_is_gone_cannot_be_retried(
    service: Service, subscriber: Subscriber
) -> None:
    made = await subscribe(service, subscriber.url)
    await service.submit(TXT2IMG)
    [row] = await settled(service, "delivered")
    await service.client.delete(f"/v1/subscriptions/{made['id']}")
    response = await service.client.post(f"/v1/deliveries/{row['id']}/retry")
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert [row["status"] for row in await rows(service)] == ["delivered"]


@pytest.mark.parametrize(("name", "value"), [("status", "gone"), ("cursor", "x"), ("cursor", ""), ("limit", "1000")])
async def test_a_bad_query_is_422_and_named(service: Service, name: str, value: str) -> None:
    response = await service.client.get("/v1/deliveries", params={name: value})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, f"?{name}")


async def test_callback_addresses_share_the_rules_of_subscriptions(service: Service, subscriber: Subscriber) -> None:
    subscriber.answer = answers(500)
    task = await service.submit(txt2img(callback_url=subscriber.url))
    [row] = await settled(service, "delivered")
    assert (row["subscription_id"], row["task_id"], row["url"]) == (None, task["id"], subscriber.url)
    assert [attempt["status_code"] for attempt in row["attempts"]] == [500, 204]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
