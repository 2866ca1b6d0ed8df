"""Section 4 of the API: every row of its table, at both doors, as a provider or a stranger would call."""

import asyncio
import sqlite3
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from service.store.sqlite import writer
from service.tools.harness.ports import free_port
from service.web import door
from tests.conftest import Service, Subscriber, img2img, running, txt2img
from tests.servers import another_database, rows

PICTURE = "https://img.theapi.app/picture.png"
BOTH = pytest.mark.parametrize("provider", ["piapi", "modelslab"])


@dataclass
class Callback:
    """What the provider was told when it got the task, and how it would answer."""

    provider: str
    task_id: str
    provider_task_id: str
    url: str
    headers: dict[str, str]

    def body(self, status: str = "completed", **fields: Any) -> dict[str, Any]:
        if self.provider == "piapi":
            output = {"image_url": PICTURE} if status.strip().lower() in ("completed", "success") else None
            data = {"task_id": self.provider_task_id, "status": status, "output": output}
            return {"timestamp": 1, "data": data | fields}
        pictures = [PICTURE] if status.strip().lower() in ("completed", "success") else ""
        found = {"status": status, "id": int(self.provider_task_id), "output": pictures, "track_id": self.task_id}
        return found | fields


async def held(service: Service, sandbox: str, provider: str) -> Callback:
    """A task that waits at the provider, which will not call by itself."""
    make = txt2img if provider == "piapi" else img2img
    task = await service.submit(make("queue=gate"))
    event = await service.event(task["id"], "task.submitted")
    asked = (await service.anybody.get(f"{sandbox}/sandbox/requests")).json()["requests"]
    body = next(one["body"] for one in reversed(asked) if one["method"] == "POST")
    url, headers = body.get("webhook"), {}
    if provider == "piapi":
        webhook = body["config"]["webhook_config"]
        url, headers = webhook["endpoint"], {"x-webhook-secret": webhook["secret"]}
    return Callback(provider, task["id"], event["data"]["provider_task_id"], url, headers)


async def read(service: Service, callback: Callback) -> dict[str, Any]:
    task: dict[str, Any] = (await service.client.get(f"/v1/tasks/{callback.task_id}")).json()
    return task


async def told(service: Service, callback: Callback) -> list[str]:
    listed = (await service.client.get("/v1/events", params={"task_id": callback.task_id})).json()
    return [event["type"].removeprefix("task.") for event in listed["data"]]


async def send(service: Service, callback: Callback, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return await service.anybody.post(callback.url, content=content, headers=callback.headers | headers)


async def audited(service: Service, **query: str) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = (await service.admin.get("/v1/callbacks", params=query)).json()["data"]
    return calls


# --- 200 ---


@BOTH
async def test_a_good_new_call_is_200_and_all_of_it_is_on_disk(
    service: Service, sandbox: str, env: dict[str, str], provider: str
) -> None:
    callback = await held(service, sandbox, provider)
    assert (await send(service, callback, callback.body())).status_code == 200
    # Another program reads it.
    [status] = await rows(env["DATABASE_URL"], "SELECT status FROM tasks WHERE id = $1", callback.task_id)
    events = await rows(env["DATABASE_URL"], "SELECT type FROM events WHERE task_id = $1", callback.task_id)
    assert status == ("completed",)
    assert ("task.completed",) in events
    assert (await read(service, callback))["output"]["url"] == PICTURE


@BOTH
async def test_a_repeated_call_is_200_and_nobody_is_told_twice(
    service: Service, sandbox: str, subscriber: Subscriber, provider: str
) -> None:
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    callback = await held(service, sandbox, provider)
    answers = await asyncio.gather(*(send(service, callback, callback.body()) for _ in range(10)))
    assert {response.status_code for response in answers} == {200}
    assert (await told(service, callback)).count("completed") == 1
    found = (await service.client.get("/v1/deliveries")).json()["data"]
    assert len(found) == 1


@BOTH
@pytest.mark.parametrize("late", ["processing", "failed"])
async def test_a_late_or_conflicting_call_is_200_and_changes_nothing(
    service: Service, sandbox: str, provider: str, late: str
) -> None:
    callback = await held(service, sandbox, provider)
    await send(service, callback, callback.body())
    before, events = await read(service, callback), await told(service, callback)
    assert (await send(service, callback, callback.body(late))).status_code == 200
    after = await read(service, callback)
    assert {**after, "links": None} == {**before, "links": None}
    assert await told(service, callback) == events


@BOTH
@pytest.mark.parametrize("spelling", ["Completed", "COMPLETED", " success\t", "success"])
async def test_a_finish_counts_in_any_spelling(service: Service, sandbox: str, provider: str, spelling: str) -> None:
    callback = await held(service, sandbox, provider)
    assert (await send(service, callback, callback.body(spelling))).status_code == 200
    assert (await read(service, callback))["status"] == "completed"


@BOTH
@pytest.mark.parametrize("word", ["", "dreaming", "99", "finished?"])
async def test_an_unknown_status_leaves_the_task_open(service: Service, sandbox: str, provider: str, word: str) -> None:
    callback = await held(service, sandbox, provider)
    assert (await send(service, callback, callback.body(word))).status_code == 200
    assert (await read(service, callback))["finished_at"] is None


async def test_the_content_type_of_a_call_does_not_matter(service: Service, sandbox: str) -> None:
    callback = await held(service, sandbox, "piapi")
    response = await send(service, callback, callback.body(), **{"content-type": "text/plain"})
    assert response.status_code == 200


async def test_flat_and_wrapped_bodies_are_read_too(service: Service, sandbox: str) -> None:
    for wrap in (lambda data: data, lambda data: {"code": 200, "data": data, "message": "success"}):
        callback = await held(service, sandbox, "piapi")
        assert (await send(service, callback, wrap(callback.body()["data"]))).status_code == 200
        assert (await read(service, callback))["status"] == "completed"


async def test_a_call_before_the_submits_answer_is_taken(service: Service) -> None:
    task = await service.finished(txt2img("callback=early answer_delay=0.3"))
    assert task["status"] == "completed"


# --- 404, 401, 400, 409 ---


@BOTH
async def test_a_forged_token_is_404(service: Service, sandbox: str, provider: str) -> None:
    callback = await held(service, sandbox, provider)
    base, token = callback.url.rsplit("/", 1)
    head, _, signature = token.rpartition(".")
    bad = [
        head,
        f"{head}.{signature[:-2]}",
        f"x{token}",
        "",
        "x",
        token + "/x",
        "%00",
        "a" * 5000,
        f"{head}.{signature[::-1]}",
    ]
    for forged in bad:
        callback.url = f"{base}/{forged}"
        assert (await send(service, callback, callback.body())).status_code == 404, forged
    assert (await read(service, callback))["finished_at"] is None


@BOTH
async def test_a_token_for_the_other_provider_is_404(service: Service, sandbox: str, provider: str) -> None:
    callback = await held(service, sandbox, provider)
    other = {"piapi": "modelslab", "modelslab": "piapi"}[provider]
    callback.url = callback.url.replace(f"/webhooks/{provider}/", f"/webhooks/{other}/")
    assert (await send(service, callback, callback.body())).status_code == 404
    callback.url = callback.url.replace(f"/webhooks/{other}/", "/webhooks/nobody/")
    assert (await send(service, callback, callback.body())).status_code == 404


@BOTH
async def test_a_token_of_an_unknown_task_is_404(env: dict[str, str], sandbox: str, provider: str) -> None:
    async with running(env) as service:
        callback = await held(service, sandbox, provider)
    elsewhere = env | {"DATABASE_URL": another_database(env["DATABASE_URL"]), "PORT": str(free_port())}
    async with running(elsewhere) as service:
        callback.url = service.url + urlsplit(callback.url).path
        assert (await send(service, callback, callback.body())).status_code == 404
        assert (await audited(service))[0]["result"] == "unknown_task"


@pytest.mark.parametrize("secret", [None, "", "wrong", "ä".encode().decode("latin-1"), "0" * 64])
async def test_a_missing_or_wrong_secret_is_401(service: Service, sandbox: str, secret: str | None) -> None:
    callback = await held(service, sandbox, "piapi")
    callback.headers = {} if secret is None else {"x-webhook-secret": secret.encode("latin-1")}  # type: ignore[dict-item]
    response = await send(service, callback, callback.body())
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
    assert (await read(service, callback))["finished_at"] is None


async def test_the_secret_of_another_task_is_401(service: Service, sandbox: str) -> None:
    one, other = await held(service, sandbox, "piapi"), await held(service, sandbox, "piapi")
    assert one.headers != other.headers
    one.headers = other.headers
    assert (await send(service, one, one.body())).status_code == 401


@pytest.mark.parametrize("track_id", [None, "", "tsk_other", 20, {"a": 1}, ["x"]])
async def test_a_missing_or_wrong_track_id_is_401(service: Service, sandbox: str, track_id: object) -> None:
    callback = await held(service, sandbox, "modelslab")
    response = await send(service, callback, callback.body(track_id=track_id))
    assert (response.status_code, (await read(service, callback))["finished_at"]) == (401, None)


NO_TASK = {
    "empty": b"",
    "cut": b"{",
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "string": b'"x"',
    "no utf-8": b"\xff\xfe",
    "no task": b"{}",
    "no task in data": b'{"data":[]}',
    "deep": b"[" * 100_000,
}


@BOTH
@pytest.mark.parametrize("body", NO_TASK.values(), ids=NO_TASK)
async def test_a_body_that_is_no_object_with_a_task_in_it_is_400(
    service: Service, sandbox: str, provider: str, body: bytes
) -> None:
    callback = await held(service, sandbox, provider)
    response = await send(service, callback, body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert response.headers["content-type"] == "application/problem+json"
    assert (await read(service, callback))["finished_at"] is None


@BOTH
async def test_another_tasks_id_is_409_and_in_the_audit_log(service: Service, sandbox: str, provider: str) -> None:
    callback = await held(service, sandbox, provider)
    known, callback.provider_task_id = callback.provider_task_id, "12345678"
    response = await send(service, callback, callback.body())
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    [call] = await audited(service, task_id=callback.task_id)
    assert (call["result"], call["status_code"], call["provider"]) == ("wrong_task", 409, provider)
    assert (await read(service, callback))["provider_task_id"] == known


# --- 413, 503, methods ---


@BOTH
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_413(env: dict[str, str], sandbox: str, provider: str, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(8):
            yield b" " * 1024

    async with running(env | {"MAX_WEBHOOK_BYTES": "4096"}) as service:
        callback = await held(service, sandbox, provider)
        content: Any = pieces() if chunked else b" " * 8192
        response = await service.anybody.post(callback.url, content=content, headers=callback.headers)
        assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
        assert (await send(service, callback, callback.body())).status_code == 200


@pytest.mark.sqlite
async def test_when_the_store_cannot_be_written_the_call_is_503_and_its_repetition_counts(
    service: Service, sandbox: str, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writer.PATIENCE < 15
    monkeypatch.setattr(writer, "PATIENCE", 0.2)
    callback = await held(service, sandbox, "piapi")
    with sqlite3.connect(env["DATABASE_URL"].removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        response = await send(service, callback, callback.body())
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert int(response.headers["retry-after"]) > 0
        other.execute("ROLLBACK")
    assert (await send(service, callback, callback.body())).status_code == 200
    assert (await told(service, callback)).count("completed") == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_405(service: Service, sandbox: str, method: str) -> None:
    callback = await held(service, sandbox, "piapi")
    response = await service.anybody.request(method, callback.url, headers=callback.headers)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


# --- what is kept, and what is never shown ---


async def test_the_audit_log_is_for_admins_filtered_and_paged(service: Service, sandbox: str) -> None:
    callback = await held(service, sandbox, "piapi")
    for status in ("processing", "completed", "completed"):
        await send(service, callback, callback.body(status))
    await service.anybody.post("/webhooks/piapi/forged", content=b"{}")
    assert (await service.client.get("/v1/callbacks")).status_code == 404
    assert [call["result"] for call in await audited(service)] == ["bad_token", "repeated", "accepted", "accepted"]
    assert len(await audited(service, result="accepted", task_id=callback.task_id)) == 2
    page = (await service.admin.get("/v1/callbacks?limit=3")).json()
    rest = await audited(service, cursor=page["next_cursor"])
    assert (len(page["data"]), len(rest)) == (3, 1)


async def test_a_stranger_cannot_fill_the_audit_log(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "AUDIT_RATE", 0.1)
    async with running(env) as service:
        for n in range(50):
            assert (await service.anybody.post(f"/webhooks/piapi/forged{n}", content=b"{}")).status_code == 404
        assert 1 <= len(await audited(service, limit="200")) < 10


@BOTH
async def test_tokens_keys_and_secrets_are_in_no_log_line_and_no_answer(
    service: Service, sandbox: str, provider: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for name in ("httpx", "httpcore", "hpack"):  # the tests' own client
        caplog.set_level("CRITICAL", name)
    callback = await held(service, sandbox, provider)
    echo: dict[str, Any] = {
        "config": {"webhook_config": {"endpoint": callback.url, "secret": callback.headers.get("x-webhook-secret")}}
    }
    await send(service, callback, callback.body("processing", **echo))
    await send(service, callback, b"no json " + callback.url.encode())
    wrong = callback.body(key="modelslab-test-key", **echo)
    callback.provider_task_id = "999"
    await send(service, callback, orjson.dumps(wrong).replace(b"completed", b"failed"))
    await send(service, callback, callback.body(message=f"see {callback.url}", **echo))
    calls = (await service.admin.get("/v1/callbacks")).text
    shown = (await service.client.get(f"/v1/tasks/{callback.task_id}")).text
    token = callback.url.rsplit("/", 1)[1]
    for secret in (token, callback.headers.get("x-webhook-secret"), "modelslab-test-key", "piapi-test-key"):
        assert secret is None or secret not in f"{caplog.text}{calls}{shown}"


async def test_a_new_first_secret_key_still_takes_the_calls_of_tasks_in_flight(
    env: dict[str, str], sandbox: str
) -> None:
    async with running(env) as service:
        callbacks = [await held(service, sandbox, provider) for provider in ("piapi", "modelslab")]
    rotated = env | {"SECRET_KEY": "another-key-of-this-test-with-32-characters," + env["SECRET_KEY"]}
    async with running(rotated) as service:
        for callback in callbacks:
            assert (await send(service, callback, callback.body())).status_code == 200
    forgotten = env | {"SECRET_KEY": "another-key-of-this-test-with-32-characters"}
    async with running(forgotten) as service:
        assert (await send(service, callbacks[0], callbacks[0].body())).status_code == 404


async def test_without_a_secret_key_calls_outlive_a_restart_too(env: dict[str, str], sandbox: str) -> None:
    async with running(env | {"SECRET_KEY": ""}) as service:
        callback = await held(service, sandbox, "piapi")
    async with running(env | {"SECRET_KEY": ""}) as service:
        assert (await send(service, callback, callback.body())).status_code == 200
