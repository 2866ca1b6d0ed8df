"""The main job over real sockets and a real file: submit, callback, store, fan out."""

from typing import Any

import pytest
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix

from tests.conftest import IMG2IMG, TXT2IMG, Service, Subscriber


@pytest.mark.parametrize("body", [TXT2IMG, IMG2IMG], ids=["piapi", "modelslab"])
async def test_a_task_comes_back_as_a_signed_webhook_that_two_foreign_libraries_accept(
    service: Service, subscriber: Subscriber, body: dict[str, Any]
) -> None:
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    task = await service.submit(body)
    await subscriber.count(1)
    headers, sent = subscriber.received[0]
    for verifier in (Webhook(made["secret"]), Svix(made["secret"])):
        verifier.verify(sent, headers)
    event = subscriber.events[0]
    assert event["type"] == "task.completed"
    assert event["data"]["id"] == task["id"]
    assert headers["webhook-id"] == event["id"]


async def test_each_move_of_a_task_is_one_event_in_order(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    listed = (await service.client.get("/v1/events", params={"task_id": task["id"]})).json()
    types = [event["type"] for event in listed["data"]]
    assert types == ["task.queued", "task.submitted", "task.processing", "task.completed"]
    assert listed["next_after"] == listed["data"][-1]["seq"]


async def test_the_stream_of_a_task_opens_by_its_signed_link_and_ends_with_the_task(service: Service) -> None:
    task = await service.submit(TXT2IMG)
    types = []
    async with service.anybody.stream("GET", task["links"]["stream"]) as response:
        async for line in response.aiter_lines():
            if line.startswith("event:"):
                types.append(line[7:])
    assert types[0] == "task.queued"
    assert types[-1] == "task.completed"


async def test_no_secret_reaches_the_task_its_events_or_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    task = await service.finished(TXT2IMG)
    events = (await service.client.get("/v1/events")).text
    shown = f"{task}{events}{caplog.text}".replace(task["links"]["stream"], "")
    for secret in ("piapi-test-key", "modelslab-test-key", "x-webhook-secret", "/webhooks/", "alice-key"):
        assert secret not in shown
