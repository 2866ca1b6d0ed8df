"""Section 6 of the API, first half: subscriptions, their secrets, pings, replays and their end."""

import base64
import os
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.responses import Response

from tests.conftest import IMG2IMG, TXT2IMG, Service, Subscriber, img2img, running, txt2img

FINISHES = ["task.completed", "task.failed", "task.canceled"]
PUBLIC = "https://example.com/hook"


async def subscribe(service: Service, url: str, **fields: Any) -> dict[str, Any]:
    response = await service.client.post("/v1/subscriptions", json={"url": url, **fields})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def shown(service: Service, made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await service.client.get(f"/v1/subscriptions/{made['id']}")).json()
    return found


async def change(service: Service, made: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = await service.client.patch(f"/v1/subscriptions/{made['id']}", json=fields)
    assert response.status_code == 200, response.text
    changed: dict[str, Any] = response.json()
    return changed


def new_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


async def test_a_new_subscription_is_201_with_an_id_and_a_secret(service: Service) -> None:
    response = await service.client.post("/v1/subscriptions", json={"url": PUBLIC})
    made = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/subscriptions/{made['id']}"
    assert made["id"].startswith("sub_")
    assert made["secret"].startswith("whsec_")
    assert (made["url"], made["enabled"]) == (PUBLIC, True)


async def test_finishing_events_are_the_default(service: Service) -> None:
    made = await subscribe(service, PUBLIC)
    assert sorted(made["events"]) == sorted(FINISHES)


async def test_the_secret_is_shown_only_once(service: Service) -> None:
    made = await subscribe(service, PUBLIC)
    listed = (await service.client.get("/v1/subscriptions")).json()
    changed = await change(service, made, description="new")
    for seen in (await shown(service, made), changed, listed):
        assert made["secret"] not in str(seen)
    assert [item["id"] for item in listed["data"]] == [made["id"]]


async def test_an_own_secret_may_be_brought_and_signs(service: Service, subscriber: Subscriber) -> None:
    secret = new_secret()
    await subscribe(service, subscriber.url, secret=secret)
    await service.submit(TXT2IMG)
    await subscriber.count(1)
    headers, body = subscriber.received[0]
    Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_" + "A" * 89, "whsec_ä"])
async def test_a_secret_that_is_none_is_refused_and_not_repeated(service: Service, secret: str) -> None:
    response = await service.client.post("/v1/subscriptions", json={"url": PUBLIC, "secret": secret})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/secret")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"url": 7}, "/url"),
        ({"events": []}, "/events"),
        ({"events": ["task.done"]}, "/events/0"),
        ({"filter": {"colour": "red"}}, "/filter"),
        ({"filter": {"metadata": 1}}, "/filter/metadata"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "/headers/X-A"),
        ({"headers": {"X A": "a"}}, "/headers"),
        ({"headers": {"Content-Length": "1"}}, "/headers"),
        ({"headers": {"webhook-signature": "v1,x"}}, "/headers"),
        ({"color": 1}, ""),
    ],
)
async def test_a_bad_field_is_422_and_pointed_at(service: Service, fields: dict[str, Any], pointer: str) -> None:
    response = await service.client.post("/v1/subscriptions", json={"url": PUBLIC} | fields)
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert any(fault["pointer"].startswith(pointer) for fault in response.json()["errors"])
    assert (await service.client.get("/v1/subscriptions")).json()["data"] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://localhost/",
        "https://2130706433/",
        "https://user:word@example.com/",
        "ftp://example.com/",
        "https://",
    ],
)
async def test_a_target_must_be_https_public_and_without_credentials(env: dict[str, str], url: str) -> None:
    async with running(env | {"ALLOW_PRIVATE_TARGETS": "false"}) as service:
        made = await service.client.post("/v1/subscriptions", json={"url": url})
        good = await subscribe(service, PUBLIC)
        moved = await service.client.patch(f"/v1/subscriptions/{good['id']}", json={"url": url})
        task = await service.client.post("/v1/tasks", json=TXT2IMG | {"callback_url": url})
    for response, pointer in ((made, "/url"), (moved, "/url"), (task, "/callback_url")):
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)


# --- what is told to whom ---


async def test_only_the_requested_events_are_sent(service: Service, subscriber: Subscriber) -> None:
    await subscribe(service, subscriber.url, events=["task.submitted", "task.completed"])
    await service.submit(TXT2IMG)
    await subscriber.count(2)
    assert subscriber.types == ["task.submitted", "task.completed"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"provider": "modelslab"},
        {"model": "flux"},
        {"task_type": "img2img"},
        {"metadata": {"team": "b", "n": 2, "on": True}},
        {"provider": "modelslab", "metadata": {"team": "b"}},
    ],
)
async def test_a_filter_lets_through_only_what_agrees_with_all_of_it(
    service: Service, subscriber: Subscriber, wanted: dict[str, Any]
) -> None:
    await subscribe(service, subscriber.url, filter=wanted)
    await service.finished(txt2img(metadata={"team": "a", "n": 1, "on": False}))
    good = await service.submit(img2img(metadata={"team": "b", "n": 2, "on": True, "more": "x"}))
    await subscriber.count(1)
    assert [event["data"]["id"] for event in subscriber.events] == [good["id"]]


async def test_true_in_a_filter_is_not_the_number_one(service: Service, subscriber: Subscriber) -> None:
    await subscribe(service, subscriber.url, filter={"metadata": {"on": True}})
    await service.finished(txt2img(metadata={"on": 1}))
    good = await service.submit(txt2img(metadata={"on": True}))
    await subscriber.count(1)
    assert subscriber.events[0]["data"]["id"] == good["id"]


async def test_own_headers_are_sent_with_every_delivery_and_never_shown(
    service: Service, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    made = await subscribe(service, subscriber.url, headers={"Authorization": "Bearer hidden-word"})
    await service.submit(TXT2IMG)
    await subscriber.count(1)
    assert subscriber.received[0][0]["authorization"] == "Bearer hidden-word"
    deliveries = (await service.client.get("/v1/deliveries")).text
    assert "hidden-word" not in f"{made}{await shown(service, made)}{deliveries}{caplog.text}"


async def test_owners_receive_only_events_of_their_own_tasks(service: Service, subscriber: Subscriber) -> None:
    await subscribe(service, subscriber.url)
    await service.bob.post("/v1/tasks", json=TXT2IMG, headers={"Prefer": "wait=15"})
    task = await service.submit(TXT2IMG)
    await subscriber.count(1)
    assert subscriber.events[0]["data"]["id"] == task["id"]


async def test_somebody_elses_subscription_is_a_404_on_every_route(service: Service) -> None:
    made = await subscribe(service, PUBLIC)
    path = f"/v1/subscriptions/{made['id']}"
    answers = [
        await service.bob.get(path),
        await service.bob.patch(path, json={"enabled": False}),
        await service.bob.delete(path),
        await service.bob.post(f"{path}/ping"),
        await service.bob.post(f"{path}/rotate-secret"),
        await service.bob.post(f"{path}/replay", json={"after": 0}),
    ]
    assert [response.status_code for response in answers] == [404] * 6
    assert (await service.bob.get("/v1/subscriptions")).json()["data"] == []
    assert (await service.admin.get(path)).status_code == 200


async def test_each_owner_has_a_webhook_secret_of_its_own_that_stays(service: Service, env: dict[str, str]) -> None:
    ours = (await service.client.get("/v1/webhook-secret")).json()["secret"]
    theirs = (await service.bob.get("/v1/webhook-secret")).json()["secret"]
    assert ours != theirs
    assert ours == (await service.client.get("/v1/webhook-secret")).json()["secret"]
    Webhook(ours)


# --- change, ping, rotate, replay, remove ---


async def test_a_patch_changes_what_it_names_and_nothing_else(service: Service) -> None:
    made = await subscribe(service, PUBLIC, filter={"model": "flux"}, description="one")
    changed = await change(service, made, events=["task.failed"], description=None)
    assert (changed["events"], changed["description"]) == (["task.failed"], None)
    assert (changed["url"], changed["filter"]) == (PUBLIC, {"model": "flux"})
    assert changed == await shown(service, made)


async def test_a_ping_is_sent_at_once_and_returns_its_outcome(service: Service, subscriber: Subscriber) -> None:
    made = await subscribe(service, subscriber.url)
    response = await service.client.post(f"/v1/subscriptions/{made['id']}/ping")
    assert response.status_code == 200
    assert (response.json()["status"], response.json()["attempts"][0]["status_code"]) == ("delivered", 204)
    headers, body = subscriber.received[0]
    Webhook(made["secret"]).verify(body, headers)
    assert subscriber.types == ["ping"]


async def test_a_failed_ping_returns_the_error_and_is_not_retried(service: Service, subscriber: Subscriber) -> None:
    made = await subscribe(service, subscriber.url)
    subscriber.answer = lambda request, body: Response(status_code=500)
    pinged = (await service.client.post(f"/v1/subscriptions/{made['id']}/ping")).json()
    assert (pinged["status"], pinged["attempts"][0]["status_code"]) == ("dead", 500)
    subscriber.answer = None
    await service.submit(TXT2IMG)
    await subscriber.count(2)
    assert subscriber.types == ["ping", "task.completed"]


async def test_after_a_rotation_old_and_new_secret_both_sign(service: Service, subscriber: Subscriber) -> None:
    made = await subscribe(service, subscriber.url)
    response = await service.client.post(f"/v1/subscriptions/{made['id']}/rotate-secret")
    new = response.json()["secret"]
    assert response.status_code == 200
    assert new != made["secret"]
    await service.submit(TXT2IMG)
    await subscriber.count(1)
    headers, body = subscriber.received[0]
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (new, made["secret"]):
        Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)


async def test_a_replay_by_seq_sends_stored_events_again_with_the_same_ids(
    service: Service, subscriber: Subscriber
) -> None:
    first, second = await service.finished(TXT2IMG), await service.finished(txt2img("fail=no"))
    made = await subscribe(service, subscriber.url)
    after = (await service.event(first["id"], "task.completed"))["seq"]
    response = await service.client.post(f"/v1/subscriptions/{made['id']}/replay", json={"after": after})
    assert (response.status_code, response.json()["queued"]) == (202, 1)
    await subscriber.count(1)
    assert subscriber.events == [await service.event(second["id"], "task.failed")]


async def test_a_replay_by_time_and_types(service: Service, subscriber: Subscriber) -> None:
    await service.finished(TXT2IMG)
    second = await service.finished(IMG2IMG)
    made = await subscribe(service, subscriber.url, events=["task.queued", "task.completed"])
    body = {"after": second["created_at"], "types": ["task.completed", "task.failed"]}
    response = await service.client.post(f"/v1/subscriptions/{made['id']}/replay", json=body)
    assert response.json()["queued"] == 1
    await subscriber.count(1)
    assert subscriber.events[0]["data"]["id"] == second["id"]


@pytest.mark.parametrize("after", [-1, 1.5, "yesterday", "2026-99-99T00:00:00Z", True, None, 10**30])
async def test_a_replay_after_nonsense_is_422(service: Service, after: object) -> None:
    made = await subscribe(service, PUBLIC)
    response = await service.client.post(f"/v1/subscriptions/{made['id']}/replay", json={"after": after})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/after")


async def test_a_deleted_subscription_is_gone_and_receives_nothing_more(
    service: Service, subscriber: Subscriber
) -> None:
    gone = await subscribe(service, subscriber.url + "/gone")
    await subscribe(service, subscriber.url)
    response = await service.client.delete(f"/v1/subscriptions/{gone['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert (await service.client.get(f"/v1/subscriptions/{gone['id']}")).status_code == 404
    assert (await service.client.delete(f"/v1/subscriptions/{gone['id']}")).status_code == 404
    await service.finished(TXT2IMG)
    await subscriber.count(1)
    assert len((await service.client.get("/v1/deliveries")).json()["data"]) == 1


# --- disabled ---


async def test_410_disables_at_once_and_other_subscriptions_receive_the_event(
    service: Service, subscriber: Subscriber
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=410 if request.url.path.endswith("/old") else 204)
    old = await subscribe(service, subscriber.url + "/old")
    await subscribe(service, subscriber.url, events=["subscription.disabled"])
    await service.submit(TXT2IMG)
    await subscriber.until(lambda: "subscription.disabled" in subscriber.types)
    told = next(event for event in subscriber.events if event["type"] == "subscription.disabled")
    assert told["data"]["id"] == old["id"]
    seen = await shown(service, old)
    assert (seen["enabled"], "410" in seen["disabled_reason"]) == (False, True)
    assert old["secret"] not in str(subscriber.events)


async def test_a_subscription_whose_deliveries_all_fail_for_long_is_disabled(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500)
    # Attempts more than half of DISABLE_AFTER apart are not one long failure: on a busy machine they are not so near.
    async with running(env | {"DISABLE_AFTER": "1", "RETRY_SCHEDULE": ",".join(["0.05"] * 200)}) as service:
        made = await subscribe(service, subscriber.url)
        await service.submit(TXT2IMG)
        async for event in service.events():
            if event["type"] == "subscription.disabled":
                break
        assert event["data"]["id"] == made["id"]
        assert (await shown(service, made))["enabled"] is False


async def test_a_disabled_subscription_receives_nothing_and_a_patch_enables_it_again(
    service: Service, subscriber: Subscriber
) -> None:
    made = await subscribe(service, subscriber.url)
    assert (await change(service, made, enabled=False))["disabled_reason"]
    await service.finished(TXT2IMG)
    assert (await service.client.get("/v1/deliveries")).json()["data"] == []
    again = await change(service, made, enabled=True)
    assert (again["enabled"], again["disabled_reason"]) == (True, None)
    task = await service.submit(TXT2IMG)
    await subscriber.count(1)
    assert subscriber.events[0]["data"]["id"] == task["id"]


async def test_what_waited_when_it_was_disabled_is_delivered_when_it_is_enabled_again(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500)
    async with running(env | {"RETRY_SCHEDULE": "0.3,0.1,0.1"}) as service:
        made = await subscribe(service, subscriber.url)
        task = await service.submit(TXT2IMG)
        await subscriber.count(1)
        await change(service, made, enabled=False)
        subscriber.answer = None
        await change(service, made, enabled=True)
        await subscriber.count(2)
        assert {event["data"]["id"] for event in subscriber.events} == {task["id"]}


async def test_subscriptions_are_listed_newest_first_in_pages(service: Service) -> None:
    made = [(await subscribe(service, f"http://127.0.0.1:9/{n}"))["id"] for n in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await service.client.get("/v1/subscriptions", params=query)).json()
        seen += [item["id"] for item in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
        await subscribe(service, "http://127.0.0.1:9/later")
    assert seen == made[::-1]
    bad = await service.client.get("/v1/subscriptions?cursor=sub_1")
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "?cursor")
