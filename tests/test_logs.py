"""The log: its fields, request ids from the submit to the last delivery, and what must never be in it."""

import asyncio
import io
import json
import logging
import re
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from starlette.responses import Response

from service.ops import logs
from service.ops.repeats import RepeatFilter
from service.tools.harness.ports import free_port
from service.wire.tokens import CallbackToken, Tokens
from tests.conftest import PATIENCE, TXT2IMG, Service, Subscriber, img2img, txt2img
from tests.test_stop import ended, process

log = logging.getLogger("callbridge.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    logging.getLogger(logs.ROOT).setLevel(logging.NOTSET)


def test_a_json_line_holds_the_fields_that_apply_and_no_others(stream: io.StringIO) -> None:
    logs.set_up("json", "info", stream=stream)
    log.info("a %s", "sentence", extra={"task_id": "tsk_1", "status": 500, "duration_ms": 12, "request_id": None})
    line = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {"level": "info", "message": "a sentence", "task_id": "tsk_1", "status": 500, "duration_ms": 12}


@pytest.mark.parametrize("form", ["text", "json"])
def test_many_lines_at_once_look_like_single_ones(stream: io.StringIO, form: str) -> None:
    logs.set_up(form, "info", ["the-key-of-alice"], stream=stream)
    log.info("task completed", extra={"request_id": "the-key-of-alice", "task_id": "tsk_1", "status": "completed"})
    one = stream.getvalue()
    time = re.search(r"\d{4}-[\d:T.-]+Z", one)
    assert time
    logs.write_lines(
        [
            {
                "time": time[0],
                "level": "info",
                "message": "task completed",
                "request_id": "the-key-of-alice",
                "task_id": "tsk_1",
                "status": "completed",
            }
        ]
    )
    assert stream.getvalue() == one * 2


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "inside", ["\n2026-01-31T12:00:00.000Z info forged", "\r\x1b[2Jforged", "\u2028forged", "\udc80"]
)
def test_what_a_client_sends_cannot_forge_a_line(stream: io.StringIO, form: str, inside: str) -> None:
    logs.set_up(form, "info", stream=stream)
    try:
        raise ValueError(inside)
    except ValueError:
        log.exception("trouble with %s", inside, extra={"request_id": inside})
    lines = stream.getvalue().split("\n")
    assert lines.pop() == ""
    assert all(line.startswith(("    ", "{")) or " error " in line for line in lines)
    assert not re.search("[\r\x1b\u2028]", stream.getvalue()) or form == "json"


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_redacted_wherever_they_come_from(stream: io.StringIO, form: str) -> None:
    logs.set_up(form, "debug", ["piapi-key-1", "piapi-key-1-longer"], stream=stream)
    try:
        raise ValueError("https://x/webhooks/piapi/TOKEN refused piapi-key-1-longer")
    except ValueError:
        log.exception("no %s at %s", "piapi-key-1", "/v1/events?token=TOKEN&after=1")
    log.debug("whsec_TOKEN", extra={"request_id": "piapi-key-1"})
    assert not re.search("TOKEN|piapi-key|longer", stream.getvalue())


async def test_repeated_trouble_is_counted(stream: io.StringIO) -> None:
    logs.set_up("text", "info", stream=stream)
    handler = logging.getLogger().handlers[0]
    handler.filters = [RepeatFilter(lines=2, window=0.01)]
    for number in range(7):
        log.warning("the disk is full, change %d", number)
        log.info("an ordinary line")
    while "5 more like this" not in stream.getvalue():
        await asyncio.sleep(0)
    assert stream.getvalue().count("the disk is full") == 3
    assert stream.getvalue().count("an ordinary line") == 7


# --- X-Request-ID ---


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/tasks", {}, 200),
        ("GET", "/v1/tasks/tsk_none", {}, 404),
        ("GET", "/v1/nowhere", {}, 404),
        ("DELETE", "/v1/tasks", {}, 405),
        ("POST", "/v1/tasks", {}, 400),
        ("GET", "/v1/tasks?limit=x", {}, 422),
        ("GET", "/v1/tasks", {"X-API-Key": "wrong"}, 401),
    ],
)
async def test_every_response_carries_the_request_id(
    service: Service, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    kept = await service.client.request(method, path, headers=headers | {"X-Request-ID": "order-17/a"})
    made = await service.client.request(method, path, headers=headers)
    assert (kept.status_code, kept.headers.get_list("x-request-id")) == (status, ["order-17/a"])
    assert re.fullmatch(r"[0-9a-f]{32}", made.headers["x-request-id"])


@pytest.mark.parametrize("given", ["", "with blank", "x" * 129, "ü"])
async def test_a_request_id_that_is_none_is_replaced(service: Service, given: str) -> None:
    response = await service.client.get("/v1/tasks", headers=[(b"X-Request-ID", given.encode("latin-1"))])
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


async def test_a_stream_carries_the_request_id(service: Service) -> None:
    headers = {"Accept": "text/event-stream", "X-Request-ID": "stream-1"}
    async with service.client.stream("GET", "/v1/events", headers=headers) as response:
        assert response.headers["x-request-id"] == "stream-1"


async def test_an_unexpected_error_is_logged_with_its_request(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.bridge.submitting.submitter, "checker", None)
    response = await service.client.post("/v1/tasks", json=TXT2IMG, headers={"X-Request-ID": "r-1"})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert response.headers["x-request-id"] == "r-1"
    assert [record.__dict__["request_id"] for record in caplog.records if record.exc_info] == ["r-1"]


# --- a whole run ---


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)
async def test_a_run_with_failures_logs_each_thing_once_and_no_secret(
    env: dict[str, str], subscriber: Subscriber, engine: str
) -> None:
    """On PostgreSQL by two processes."""
    subscriber.answer = lambda request, body: Response(status_code=500)
    env |= {"LOG_LEVEL": "debug", "LOG_FORMAT": "json", "RETRY_SCHEDULE": "0.05"}
    env |= {"WEB_CONCURRENCY": "2"} if engine == "postgres" else {}
    prompt = 'secret prompt\n{"level": "info", "message": "forged"}'
    async with process(env) as (one, client):
        made = await client.post(
            "/v1/subscriptions", json={"url": f"{subscriber.url}?token=in-the-url", "headers": {"x-token": "tkn-1234"}}
        )
        ids = []
        for number, body in enumerate((txt2img(), img2img(), txt2img("fail=broken"), txt2img("submit=400"))):
            body = body | {"input": {**body["input"], "prompt": f"{body['input']['prompt']} {prompt}"}}
            response = await client.post("/v1/tasks", json=body, headers={"X-Request-ID": f"submit-{number}"})
            ids.append(response.json()["id"])
        for task_id in ids:
            response = await client.get(f"/v1/tasks/{task_id}", headers={"Prefer": "wait=15"})
        link = response.json()["links"]["stream"]
        assert (await client.get(link)).status_code == 200
        await subscriber.count(8)
        forged = await client.post("/webhooks/piapi/forged-token", json={}, headers={"X-Request-ID": "call-1"})
        assert (forged.status_code, forged.headers["x-request-id"]) == (404, "call-1")
        made_here = await client.post("/webhooks/piapi/forged-token", json={})
        assert (await client.get("/v1/tasks", headers={"X-API-Key": "guessed-key"})).status_code == 401
        async with asyncio.timeout(PATIENCE):
            while len((await client.get("/v1/deliveries?status=dead")).json()["data"]) < 4:
                pass
        one.send_signal(signal.SIGTERM)
        _, text = await ended(one)
    secret = made.json()["secret"]
    hidden = ["alice-key", "ops-key", "piapi-test-key", "modelslab-test-key", env["SECRET_KEY"], secret, "tkn-1234"]
    hidden += ["in-the-url", "forged-token", "guessed-key", "secret prompt", link.partition("token=")[2]]
    assert [word for word in hidden if word in text] == []
    lines = lines_of(text)
    assert all(set(line) <= {"time", "level", "message", "exception", *logs.FIELDS} for line in lines)
    info = [line for line in lines if line["level"] == "info"]
    finished = [line for line in info if line.get("status") in ("completed", "failed", "canceled")]
    assert sorted(line["task_id"] for line in finished) == sorted(ids)
    failed = [line for line in info if "delivery_id" in line and line["status"] == 500]
    assert len(failed) == 8
    for number, task_id in enumerate(ids):
        of_task = [line for line in info if line.get("task_id") == task_id]
        assert {line.get("request_id") for line in of_task} == {f"submit-{number}"}
        # Its submit, its end, two attempts of its delivery.
        assert len(of_task) == 4
    refused = [line for line in info if line["message"].startswith("callback refused")]
    assert [line["status"] for line in refused] == [404, 404]
    assert [line["request_id"] for line in refused] == ["call-1", made_here.headers["x-request-id"]]


def everything_secret(env: dict[str, str], task_ids: Iterable[str]) -> list[str]:
    """What the settings hold, and what is derived from them for these tasks."""
    tokens = Tokens(tuple(env["SECRET_KEY"].split(",")))
    found = ["alice-key", "bob-key", "ops-key", *env["SECRET_KEY"].split(",")]
    found += [
        env[name] for name in ("PIAPI_API_KEY", "MODELSLAB_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]
    for task_id in task_ids:
        for provider in ("piapi", "modelslab"):
            for token in tokens.every_callback(CallbackToken(provider, task_id, 1)):
                found.append(token)
            found += tokens.callback_secrets(CallbackToken(provider, task_id, 1))
    return found


@pytest.mark.parametrize(("form", "engine"), [("text", "sqlite"), ("json", "postgres")], indirect=["engine"])
async def test_what_is_secret_is_in_no_line_whatever_fails(
    env: dict[str, str], subscriber: Subscriber, form: str, engine: str
) -> None:
    nobody = free_port()
    env |= {
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": form,
        "SECRET_KEY": f"a-newer-key-of-this-test-with-32-characters,{env['SECRET_KEY']}",
        "DATABASE_URL": env["DATABASE_URL"].replace("callbridge@", "callbridge:password-of-the-database@"),
        "WEB_CONCURRENCY": "2",
        "RETRY_SCHEDULE": "0.05",
        "RESULTS_URL": "s3://bucket/prefix",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{nobody}",
        "AWS_ACCESS_KEY_ID": "access-key-of-the-bucket",
        "AWS_SECRET_ACCESS_KEY": "secret-key-of-the-bucket",
        "AWS_REGION": "eu-central-1",
        "MODELSLAB_BASE_URL": f"http://127.0.0.1:{nobody}",
    }
    bodies = [txt2img(), txt2img("submit=reset"), txt2img("callback=bad_secret"), txt2img("output=base64"), img2img()]
    async with process(env) as (one, client):
        ids = [(await client.post("/v1/tasks", json=body)).json()["id"] for body in bodies]
        secrets = [(await client.get("/v1/webhook-secret")).json()["secret"]]
        for url in (subscriber.url, f"http://127.0.0.1:{nobody}/?token=in-the-url"):
            made = (await client.post("/v1/subscriptions", json={"url": url, "events": ["task.completed"]})).json()
            rotated = (await client.post(f"/v1/subscriptions/{made['id']}/rotate-secret")).json()
            secrets += [made["secret"], rotated["secret"]]
            await client.post(f"/v1/subscriptions/{made['id']}/ping")
        finished = await client.post("/v1/tasks", json=txt2img(), headers={"Prefer": "wait=15", "X-Request-ID": "last"})
        links = [finished.json()["links"]["stream"].partition("token=")[2]]
        async with asyncio.timeout(PATIENCE):
            while not (await client.get("/v1/deliveries?status=dead")).json()["data"]:
                await asyncio.sleep(0.05)
        await client.post("/login", data={"api_key": "ops-key"})
        await client.get("/v1/tasks", headers={"Authorization": "Bearer guessed-by-a-stranger"})
        one.send_signal(signal.SIGTERM)
        _, text = await ended(one)
    hidden = [*everything_secret(env, ids), *secrets, *links, "password-of-the-database", "in-the-url"]
    assert [word for word in [*hidden, "guessed-by-a-stranger", "bearer "] if word.lower() in text.lower()] == []
    assert ids[0] in text


async def test_an_idle_service_is_silent(env: dict[str, str]) -> None:
    async with process(env | {"SWEEP_AFTER": "0.1", "LOG_FORMAT": "json"}) as (one, client):
        for _ in range(20):
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/v1/tasks")).status_code == 200
        one.send_signal(signal.SIGTERM)
        _, text = await ended(one)
    started, stopped = lines_of(text)
    assert ("listens" in started["message"], "stopped" in stopped["message"]) == (True, True)
