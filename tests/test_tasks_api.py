"""Section 3 of the API over real sockets: submit, read, list, wait, cancel, send again."""

import asyncio
import sqlite3
from typing import Any

import pytest
from standardwebhooks import Webhook

from service.core import transitions
from tests.conftest import IMG2IMG, TXT2IMG, Service, Subscriber, img2img, running, txt2img

FIELDS = {
    *("id", "provider", "model", "task_type", "status", "input", "config", "metadata", "callback_url", "output"),
    *("error", "usage", "warnings", "provider_task_id", "provider_status", "attempts", "created_at", "updated_at"),
    *("submitted_at", "started_at", "finished_at", "expires_at", "links"),
}


async def release(service: Service, sandbox: str, name: str) -> None:
    await service.anybody.post(f"{sandbox}/sandbox/release/{name}")


async def read(service: Service, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = (await service.client.get(f"/v1/tasks/{task_id}")).json()
    return task


async def listed(service: Service, **query: str | int) -> list[str]:
    response = await service.client.get("/v1/tasks", params=query)
    assert response.status_code == 200, response.text
    return [task["id"] for task in response.json()["data"]]


# --- submit ---


async def test_a_submit_returns_202_with_its_location_and_the_whole_task(service: Service) -> None:
    response = await service.client.post("/v1/tasks", json=TXT2IMG)
    task = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/tasks/{task['id']}" == task["links"]["self"]
    assert set(task) >= FIELDS
    assert (task["status"], task["attempts"], task["output"], task["error"]) == ("queued", 0, None, None)
    assert task["input"] == TXT2IMG["input"]
    assert task["created_at"].endswith("Z")
    assert len(task["created_at"]) == len("2026-01-31T12:00:00.000Z")


@pytest.mark.sqlite
async def test_the_task_is_on_disk_before_the_202_leaves(service: Service, env: dict[str, str]) -> None:
    task = await service.submit(txt2img("hold=gate"))
    with sqlite3.connect(env["DATABASE_URL"].removeprefix("sqlite:///")) as other:
        found = other.execute("SELECT count(*) FROM tasks WHERE id = ?", (task["id"],)).fetchone()
    assert found == (1,)


async def test_ids_sort_by_creation(service: Service) -> None:
    ids = [(await service.submit(TXT2IMG))["id"] for _ in range(20)]
    assert ids == sorted(ids)
    assert all(task_id.startswith("tsk_") for task_id in ids)


@pytest.mark.parametrize("missing", ["provider", "model", "task_type", "input"])
async def test_provider_model_task_type_and_input_are_required(service: Service, missing: str) -> None:
    response = await service.client.post("/v1/tasks", json={k: v for k, v in TXT2IMG.items() if k != missing})
    assert response.status_code == 422
    assert response.json()["code"] == "validation_failed"
    assert missing in str(response.json()["errors"])


async def test_a_finished_task_shows_its_files_urls_and_the_raw_output(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    output = task["output"]
    assert task["status"] == "completed"
    assert output["url"] == output["urls"][0] == output["files"][0]["url"]
    assert output["files"][0]["kind"] == "image"
    assert set(output) == {"url", "urls", "text", "files", "raw"}
    assert set(output["files"][0]) == {"url", "kind", "path", "expires_at", "copy"}
    assert task["submitted_at"] <= task["started_at"] <= task["finished_at"]


async def test_a_failed_task_shows_its_error_with_the_providers_message(service: Service) -> None:
    task = await service.finished(txt2img('fail="no cats today"'))
    assert task["status"] == "failed"
    assert set(task["error"]) == {"code", "message", "provider_code", "provider_message"}
    assert task["error"]["code"] == "provider_failed"
    assert "no cats today" in task["error"]["provider_message"]


async def test_a_finish_without_output_is_checked_again_and_then_fails_with_no_output(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "CHECKS_IN_DOUBT", (0.05, 0.05, 0.05))
    task = await service.finished(txt2img("no_output=1"))
    assert (task["status"], task["error"]["code"]) == ("failed", "no_output")


async def test_what_the_provider_refuses_is_failed_as_provider_rejected(service: Service) -> None:
    task = await service.finished(txt2img("submit=402"))
    assert (task["status"], task["error"]["code"]) == ("failed", "provider_rejected")


async def test_names_unknown_to_the_published_lists_are_sent_with_a_warning_and_the_nearest_name(
    service: Service,
) -> None:
    task = await service.submit(txt2img(model="Qubico/flux1-schnel"))
    assert any("Qubico/flux1-schnell" in warning for warning in task["warnings"])


async def test_fields_that_are_ours_may_be_present_and_empty(service: Service) -> None:
    fields = {"key": "", "webhook": "", "track_id": ""}
    config = {"webhook_config": {"endpoint": "", "secret": ""}}
    ours = await service.finished(IMG2IMG | {"input": IMG2IMG["input"] | fields})
    theirs = await service.finished(txt2img(config=config))
    assert (ours["status"], theirs["status"]) == ("completed", "completed")


async def test_metadata_and_config_come_back_as_they_were_sent(service: Service) -> None:
    metadata = {"order": "A-17", "count": 3, "paid": True, "ключ": "значение 🐈", "none": None, "deep": {"a": [1]}}
    task = await service.finished(txt2img(metadata=metadata, config={"service_mode": "public"}))
    assert task["metadata"] == metadata
    assert task["config"]["service_mode"] == "public"


async def test_what_does_not_fit_at_the_provider_waits_here_as_queued(env: dict[str, str], sandbox: str) -> None:
    async with running(env | {"PIAPI_MAX_INFLIGHT": "1"}) as service:
        first = await service.submit(txt2img("hold=gate"))
        await service.event(first["id"], "task.submitted")
        second = await service.submit(TXT2IMG)
        assert (await read(service, second["id"]))["status"] == "queued"
        await release(service, sandbox, "gate")
        await service.event(second["id"], "task.completed")
        assert (await service.anybody.get(f"{sandbox}/sandbox/ledger")).json()["peak_in_flight"] == {"piapi": 1}


# --- Idempotency-Key ---


async def test_the_same_idempotency_key_and_body_returns_the_first_task(service: Service) -> None:
    key = {"Idempotency-Key": "order 17"}
    first = await service.client.post("/v1/tasks", json=TXT2IMG, headers=key)
    again = await service.client.post("/v1/tasks", json=dict(reversed(TXT2IMG.items())), headers=key)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["location"] == first.headers["location"]


async def test_the_same_key_with_another_body_is_a_mismatch(service: Service) -> None:
    key = {"Idempotency-Key": "k"}
    await service.client.post("/v1/tasks", json=TXT2IMG, headers=key)
    response = await service.client.post("/v1/tasks", json=TXT2IMG | {"metadata": {"a": 1}}, headers=key)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")


async def test_two_owners_may_use_the_same_idempotency_key(service: Service) -> None:
    key = {"Idempotency-Key": "k"}
    ours = await service.client.post("/v1/tasks", json=TXT2IMG, headers=key)
    theirs = await service.bob.post("/v1/tasks", json=TXT2IMG, headers=key)
    assert ours.json()["id"] != theirs.json()["id"]


async def test_fifty_parallel_submits_with_one_key_make_one_task(service: Service) -> None:
    key = {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(service.client.post("/v1/tasks", json=TXT2IMG, headers=key) for _ in range(50)))
    assert len({response.json()["id"] for response in answers if response.status_code == 202}) == 1
    assert {response.status_code for response in answers} <= {202, 409}
    assert len(await listed(service)) == 1


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_an_idempotency_key_has_1_to_255_characters(service: Service, key: str) -> None:
    response = await service.client.post("/v1/tasks", json=TXT2IMG, headers={"Idempotency-Key": key})
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert await listed(service) == []


async def test_two_idempotency_keys_in_one_request_are_refused(service: Service) -> None:
    """Which of them counts would be a guess, and a repetition might be paid twice."""
    keys = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    response = await service.client.post("/v1/tasks", json=TXT2IMG, headers=keys)
    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": "Idempotency-Key", "detail": "must be sent once"}]


async def test_an_idempotency_key_is_known_after_a_restart(env: dict[str, str]) -> None:
    key = {"Idempotency-Key": "k"}
    async with running(env) as service:
        first = await service.client.post("/v1/tasks", json=TXT2IMG, headers=key)
    async with running(env) as service:
        again = await service.client.post("/v1/tasks", json=TXT2IMG, headers=key)
    assert again.json()["id"] == first.json()["id"]


# --- Prefer: wait ---


@pytest.mark.parametrize("prefer", ["wait=15", "respond-async, wait=15", 'WAIT = "15"', "wait=15; a=b"])
async def test_prefer_wait_returns_200_when_the_task_finishes(service: Service, prefer: str) -> None:
    response = await service.client.post("/v1/tasks", json=TXT2IMG, headers={"Prefer": prefer})
    assert (response.status_code, response.json()["status"]) == (200, "completed")
    assert response.headers["preference-applied"] == "wait=15"
    assert response.headers["location"] == f"/v1/tasks/{response.json()['id']}"


async def test_prefer_wait_returns_202_after_its_seconds(service: Service) -> None:
    response = await service.client.post("/v1/tasks", json=txt2img("hold=gate"), headers={"Prefer": "wait=1"})
    assert (response.status_code, response.headers["preference-applied"]) == (202, "wait=1")
    assert response.json()["status"] in ("submitted", "processing")


@pytest.mark.parametrize("prefer", ["wait=0", "wait=-1", "wait=soon", "respond-async", "awaits=5", "wait=5x"])
async def test_a_preference_that_cannot_be_applied_is_ignored(service: Service, prefer: str) -> None:
    response = await service.client.post("/v1/tasks", json=TXT2IMG, headers={"Prefer": prefer})
    assert response.status_code == 202
    assert "preference-applied" not in response.headers


async def test_a_longer_wait_is_cut_to_120_and_on_heroku_to_25(env: dict[str, str]) -> None:
    for platform, applied in (({}, "wait=120"), ({"DYNO": "web.1", "ALLOW_EPHEMERAL_DISK": "true"}, "wait=25")):
        async with running(env | platform) as service:
            response = await service.client.post("/v1/tasks", json=TXT2IMG, headers={"Prefer": "wait=500"})
            assert response.headers["preference-applied"] == applied


async def test_reading_with_prefer_wait_waits_too(service: Service, sandbox: str) -> None:
    task = await service.submit(txt2img("hold=gate"))
    await service.event(task["id"], "task.processing")
    reading = asyncio.create_task(service.client.get(task["links"]["self"], headers={"Prefer": "wait=15"}))
    await release(service, sandbox, "gate")
    response = await reading
    assert (response.status_code, response.json()["status"]) == (200, "completed")


# --- list ---


async def test_tasks_are_listed_newest_first(service: Service) -> None:
    ids = [(await service.submit(TXT2IMG))["id"] for _ in range(3)]
    assert await listed(service) == ids[::-1]


async def test_pages_are_complete_and_without_repeats_while_new_tasks_come_in(service: Service) -> None:
    ids = [(await service.submit(txt2img("queue=gate")))["id"] for _ in range(7)]
    seen, cursor = [], None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await service.client.get("/v1/tasks", params=query)).json()
        seen += [task["id"] for task in page["data"]]
        await service.submit(txt2img("queue=gate"))
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == ids[::-1]


async def test_tasks_are_filtered_by_status_provider_and_model(service: Service) -> None:
    done = (await service.finished(TXT2IMG))["id"]
    broken = (await service.finished(img2img("submit=400")))["id"]
    assert await listed(service, status="completed") == [done]
    assert await listed(service, provider="modelslab") == [broken]
    assert await listed(service, model=TXT2IMG["model"], status="completed") == [done]
    assert await listed(service, model="other") == []


async def test_too_many_metadata_filters_are_422(service: Service) -> None:
    response = await service.client.get("/v1/tasks", params={f"metadata.{n}": "x" for n in range(1500)})
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize(
    ("value", "asked"), [("A-17", "A-17"), (17, "17"), (1.5, "1.5"), (True, "true"), (False, "false"), ("кот", "кот")]
)
async def test_tasks_are_filtered_by_metadata_of_any_plain_kind(service: Service, value: object, asked: str) -> None:
    wanted = (await service.submit(txt2img(metadata={"my.key": value})))["id"]
    await service.submit(txt2img(metadata={"my.key": "other"}))
    await service.submit(TXT2IMG)
    assert await listed(service, **{"metadata.my.key": asked}) == [wanted]


async def test_several_metadata_filters_must_all_agree(service: Service) -> None:
    both = (await service.submit(txt2img(metadata={"a": "1", "b": "2"})))["id"]
    await service.submit(txt2img(metadata={"a": "1"}))
    assert await listed(service, **{"metadata.a": "1", "metadata.b": "2"}) == [both]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "1e3"),
        ("limit", "9" * 30),
        ("cursor", "tsk_1"),
        ("cursor", ""),
        ("status", "done"),
        ("model", "a\0"),
        ("metadata.a", "b\0"),
        ("metadata.a\0", "b"),
    ],
)
async def test_a_bad_query_is_422_and_named(service: Service, name: str, value: str) -> None:
    response = await service.client.get("/v1/tasks", params={name: value})
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert response.json()["errors"][0]["pointer"] == f"?{name}"


# --- owners ---


async def test_somebody_elses_task_is_a_404_on_every_route(service: Service) -> None:
    task = await service.finished(txt2img("fail=no"))
    path = task["links"]["self"]
    answers = [await service.bob.get(path + rest) for rest in ("", "/events")]
    answers += [await service.bob.post(path + rest) for rest in ("/cancel", "/resubmit")]
    assert [response.status_code for response in answers] == [404] * 4
    assert (await service.bob.get("/v1/tasks")).json()["data"] == []
    assert (await read(service, task["id"]))["attempts"] == 1


async def test_an_admin_sees_the_tasks_of_all(service: Service) -> None:
    ours = (await service.submit(TXT2IMG))["id"]
    theirs = (await service.bob.post("/v1/tasks", json=TXT2IMG)).json()["id"]
    found = (await service.admin.get("/v1/tasks")).json()["data"]
    assert [task["id"] for task in found] == [theirs, ours]
    assert (await service.admin.get(f"/v1/tasks/{theirs}")).status_code == 200


# --- cancel ---


async def test_a_waiting_task_is_canceled_and_never_sent(env: dict[str, str], sandbox: str) -> None:
    async with running(env | {"PIAPI_MAX_INFLIGHT": "1"}) as service:
        await service.submit(txt2img("hold=gate"))
        waiting = await service.submit(TXT2IMG)
        response = await service.client.post(f"/v1/tasks/{waiting['id']}/cancel")
        assert (response.status_code, response.json()["status"]) == (200, "canceled")
        assert response.json()["error"]["code"] == "canceled"
        await release(service, sandbox, "gate")
        await service.finished(txt2img("delay=0"))
        assert (await service.anybody.get(f"{sandbox}/sandbox/ledger")).json()["submits"] == 2


async def test_a_cancel_asks_the_provider_where_it_can_be_asked(service: Service, sandbox: str) -> None:
    task = await service.submit(txt2img("queue=gate"))
    await service.event(task["id"], "task.submitted")
    response = (await service.client.post(f"/v1/tasks/{task['id']}/cancel")).json()
    ledger = (await service.anybody.get(f"{sandbox}/sandbox/ledger")).json()
    assert ledger["tasks"][0]["status"] == "cancelled"
    assert (response["status"], response["warnings"]) == ("canceled", [])


async def test_a_finished_task_cannot_be_canceled(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    response = await service.client.post(f"/v1/tasks/{task['id']}/cancel")
    assert (response.status_code, response.json()["code"]) == (409, "conflict")


async def test_a_result_after_our_cancel_still_counts(service: Service, sandbox: str) -> None:
    task = await service.submit(txt2img("hold=gate"))
    processing = await service.event(task["id"], "task.processing")
    canceled = (await service.client.post(f"/v1/tasks/{task['id']}/cancel")).json()
    assert canceled["status"] == "canceled"
    assert "charged" in canceled["warnings"][0]
    await release(service, sandbox, "gate")
    done = await service.event(task["id"], "task.completed", after=processing["seq"])
    assert (done["data"]["status"], done["data"]["error"]) == ("completed", None)


# --- unconfirmed, deadlines, sending again ---


@pytest.mark.parametrize("fault", ["accepted_500", "accepted_502", "accepted_reset"])
async def test_a_submit_with_a_lost_response_is_unconfirmed_and_completed_by_its_callback(
    service: Service, sandbox: str, fault: str
) -> None:
    task = await service.submit(txt2img(f"submit={fault} hold=gate history=none"))
    await service.event(task["id"], "task.unconfirmed")
    await release(service, sandbox, "gate")
    done = await service.event(task["id"], "task.completed")
    assert done["data"]["provider_task_id"]
    assert (await service.anybody.get(f"{sandbox}/sandbox/ledger")).json()["submits"] == 1


async def test_a_submit_that_ended_in_a_5xx_is_never_sent_again_by_itself(env: dict[str, str], sandbox: str) -> None:
    async with running(env | {"SWEEP_AFTER": "0.05", "TASK_DEADLINE": "1"}) as service:
        task = await service.submit(txt2img("submit=500"))
        failed = await service.event(task["id"], "task.failed")
        assert failed["data"]["error"]["code"] in ("submission_unconfirmed", "provider_rejected")
        requests = (await service.anybody.get(f"{sandbox}/sandbox/requests")).json()["requests"]
        assert [r["path"] for r in requests if r["method"] == "POST"] == ["/api/v1/task"]


async def test_a_result_after_the_deadline_still_counts(env: dict[str, str], sandbox: str) -> None:
    async with running(env | {"TASK_DEADLINE": "0.3"}) as service:
        task = await service.submit(txt2img("hold=gate fetch=500"))
        failed = await service.event(task["id"], "task.failed")
        assert failed["data"]["error"]["code"] == "deadline_exceeded"
        await release(service, sandbox, "gate")
        done = await service.event(task["id"], "task.completed", after=failed["seq"])
        assert done["data"]["output"]["url"]


async def test_a_failed_task_is_sent_again_by_a_persons_decision(service: Service) -> None:
    task = await service.finished(txt2img("fail=no times=1"))
    response = await service.client.post(f"/v1/tasks/{task['id']}/resubmit")
    assert (response.status_code, response.json()["id"], response.json()["status"]) == (202, task["id"], "queued")
    assert response.headers["location"] == f"/v1/tasks/{task['id']}"
    done = await service.event(task["id"], "task.completed")
    assert (done["data"]["attempts"], done["data"]["error"]) == (2, None)


async def test_an_unconfirmed_task_may_be_sent_again(service: Service) -> None:
    task = await service.submit(txt2img("submit=500 times=1"))
    await service.event(task["id"], "task.unconfirmed")
    assert (await service.client.post(f"/v1/tasks/{task['id']}/resubmit")).status_code == 202
    done = await service.event(task["id"], "task.completed")
    assert done["data"]["attempts"] == 2


async def test_other_tasks_are_not_sent_again(service: Service, sandbox: str) -> None:
    done = await service.finished(TXT2IMG)
    running_task = await service.submit(txt2img("hold=gate"))
    for task in (done, running_task):
        response = await service.client.post(f"/v1/tasks/{task['id']}/resubmit")
        assert (response.status_code, response.json()["code"]) == (409, "conflict")


async def test_a_task_of_a_provider_without_a_key_is_refused(env: dict[str, str]) -> None:
    async with running(env | {"MODELSLAB_API_KEY": ""}) as service:
        response = await service.client.post("/v1/tasks", json=IMG2IMG)
        assert (response.status_code, response.json()["code"]) == (422, "provider_not_configured")


async def test_callback_url_receives_callback_events_signed_with_the_owners_secret(
    service: Service, subscriber: Subscriber
) -> None:
    await service.submit(txt2img(callback_url=subscriber.url, callback_events=["task.submitted", "task.completed"]))
    await subscriber.count(2)
    assert subscriber.types == ["task.submitted", "task.completed"]
    secret = (await service.client.get("/v1/webhook-secret")).json()["secret"]
    headers, body = subscriber.received[1]
    Webhook(secret).verify(body, headers)
