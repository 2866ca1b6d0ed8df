"""Section 2 of the API: who may call, and what every refusal looks like."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from service.web import requests
from tests.conftest import TXT2IMG, Service, running, txt2img


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, once its form is checked."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert {type(document[name]) for name in ("type", "title", "detail", "code")} == {str}
    assert document["detail"].endswith((".", "`", "s"))
    return document


async def post(service: Service, body: bytes, **headers: str) -> httpx.Response:
    return await service.client.post("/v1/tasks", content=body, headers=headers)


# --- keys ---


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer alice-key"},
        {"Authorization": "bearer alice-key"},
        {"Authorization": "BEARER   alice-key"},
        {"X-API-Key": "alice-key"},
        {"Authorization": "Basic YTpi", "X-API-Key": "alice-key"},
    ],
)
async def test_a_key_is_accepted_in_either_header(service: Service, headers: dict[str, str]) -> None:
    assert (await service.anybody.get("/v1/tasks", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "alice-key"},
        {"Authorization": "Basic alice-key"},
        {"X-API-Key": ""},
        {"X-API-Key": "alice-ke"},
        {"X-API-Key": "alice-key2"},
        {"X-API-Key": "é".encode("latin-1")},
        {"X-API-Key": "k" * 5000},
    ],
    ids=str,
)
async def test_a_missing_or_wrong_key_is_401_with_a_challenge(service: Service, headers: dict[str, str]) -> None:
    answer = await service.anybody.get("/v1/tasks", headers=headers)
    refused(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/tasks"),
        ("POST", "/v1/tasks"),
        ("GET", "/v1/tasks/tsk_1"),
        ("POST", "/v1/tasks/tsk_1/cancel"),
        ("POST", "/v1/tasks/tsk_1/resubmit"),
        ("GET", "/v1/tasks/tsk_1/events"),
        ("GET", "/v1/events"),
        ("GET", "/v1/events/latest"),
        ("GET", "/v1/subscriptions"),
        ("POST", "/v1/subscriptions"),
        ("GET", "/v1/subscriptions/sub_1"),
        ("PATCH", "/v1/subscriptions/sub_1"),
        ("DELETE", "/v1/subscriptions/sub_1"),
        ("POST", "/v1/subscriptions/sub_1/ping"),
        ("POST", "/v1/subscriptions/sub_1/rotate-secret"),
        ("POST", "/v1/subscriptions/sub_1/replay"),
        ("GET", "/v1/webhook-secret"),
        ("GET", "/v1/deliveries"),
        ("POST", "/v1/deliveries/dlv_1/retry"),
        ("GET", "/v1/callbacks"),
        ("GET", "/v1/catalog"),
        ("GET", "/v1/nothing"),
    ],
)
async def test_everything_under_v1_needs_a_key(service: Service, method: str, path: str) -> None:
    refused(await service.anybody.request(method, path), 401, "unauthorized")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/schemas/piapi/txt2img.json"])
async def test_health_and_descriptions_are_open_to_all(service: Service, path: str) -> None:
    if path.startswith("/schemas"):
        catalog = (await service.client.get("/v1/catalog")).text
        path = urlsplit(catalog[catalog.index("/schemas/") :].split('"')[0]).path
    assert (await service.anybody.get(path)).status_code == 200


async def test_a_key_that_asks_too_often_is_429_with_retry_after(env: dict[str, str]) -> None:
    async with running(env | {"RATE_LIMIT": "0.2"}) as service:
        answers = [await service.client.get("/v1/tasks") for _ in range(4)]
        document = refused(answers[-1], 429, "rate_limited")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert (await service.bob.get("/v1/tasks")).status_code == 200
        assert "alice" not in str(document)


# --- paths and methods ---


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/tasks/",
        "/v1/tasks/tsk_1",
        "/v1/tasks/tsk_1/nothing",
        "/v1/tasks/%00",
        "/v1/tasks/%ff%fe",
        "/v1/tasks/" + "a" * 8000,
        "/v1/tasks/..%2f..%2fhealthz",
        "/v1/tasks/%F0%9F%90%88",
        "/v1/subscriptions/sub_1",
        "/schemas/../openapi",
        "/schemas/%2e%2e/%2e%2e/pyproject.toml",
        "/schemas/nothing.json",
        "/media/nothing",
        "/webhooks",
        "//v1/tasks",
    ],
)
async def test_an_unknown_path_is_404(service: Service, path: str) -> None:
    url = httpx.URL(service.url).copy_with(raw_path=path.encode())
    refused(await service.client.get(url), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/tasks", {"GET", "HEAD", "POST"}),
        ("PUT", "/v1/tasks/tsk_1", {"GET", "HEAD"}),
        ("GET", "/v1/tasks/tsk_1/cancel", {"POST"}),
        ("POST", "/v1/tasks/tsk_1/events", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/v1/events", {"GET", "HEAD"}),
        ("PUT", "/v1/subscriptions/sub_1", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("OPTIONS", "/v1/subscriptions", {"GET", "HEAD", "POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("POST", "/openapi.json", {"GET", "HEAD"}),
        ("PROPFIND", "/v1/tasks", {"GET", "HEAD", "POST"}),
    ],
)
async def test_an_unknown_method_is_405_and_names_the_others(
    service: Service, method: str, path: str, allowed: set[str]
) -> None:
    answer = await service.client.request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == allowed


@pytest.mark.parametrize("path", ["/healthz", "/v1/tasks", "/v1/events", "/openapi.json"])
async def test_head_responds_like_get_without_a_body(service: Service, path: str) -> None:
    answer = await service.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


# --- bodies ---


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nope", b"{'a': 1}", b'{"a": NaN}', b"\xff\xfe{}", b'{"a": "\xc3"}', b'{"a": "\\ud800"}', b"[" * 5000],
    ids=lambda body: repr(body[:12]),
)
async def test_a_body_that_is_no_json_is_400(service: Service, body: bytes) -> None:
    refused(await post(service, body), 400, "invalid_request")


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"x"', b"{}", b"true"])
async def test_json_that_is_no_task_is_422(service: Service, body: bytes) -> None:
    assert refused(await post(service, body), 422, "validation_failed")["errors"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"provider": "openai"}, "/provider"),
        ({"model": ""}, "/model"),
        ({"model": 7}, "/model"),
        ({"input": []}, "/input"),
        ({"input": {"prompt": 7}}, "/input/prompt"),
        ({"input": {"prompt": "a", "width": -1}}, "/input/width"),
        ({"input": {"prompt": "a", "width": "wide"}}, "/input/width"),
        ({"metadata": [1]}, "/metadata"),
        ({"metadata": {"a": "x\0y"}}, "/metadata/a"),
        ({"metadata": {"a/b": {"c~d": "\0"}}}, "/metadata/a~1b/c~0d"),
        ({"metadata": {"n": 10**30}}, "/metadata/n"),
        ({"callback_url": "nowhere"}, "/callback_url"),
        ({"callback_events": ["done"]}, "/callback_events/0"),
        ({"colour": "red"}, "/colour"),
    ],
    ids=str,
)
async def test_a_fault_of_the_input_is_422_with_a_pointer_to_it(
    service: Service, change: dict[str, Any], pointer: str
) -> None:
    document = refused(await post(service, json.dumps(TXT2IMG | change).encode()), 422, "validation_failed")
    assert pointer in [fault["pointer"] for fault in document["errors"]]
    assert all(set(fault) == {"pointer", "detail"} for fault in document["errors"])
    assert (await service.client.get("/v1/tasks")).json()["data"] == []


async def test_several_errors_are_reported_at_once(service: Service) -> None:
    body = TXT2IMG | {"input": {"prompt": 7, "width": -1}}
    document = refused(await post(service, orjson.dumps(body)), 422, "validation_failed")
    assert {fault["pointer"] for fault in document["errors"]} >= {"/input/prompt", "/input/width"}


async def test_what_is_nested_too_deeply_is_422(service: Service) -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    refused(await post(service, orjson.dumps(TXT2IMG | {"metadata": {"deep": deep}})), 422, "validation_failed")


async def test_the_largest_numbers_are_kept_exactly(service: Service) -> None:
    metadata = {"a": 2**63 - 1, "b": -(2**63), "c": 0.1, "d": 1e-300}
    task = await service.submit(txt2img(metadata=metadata))
    assert (await service.client.get(task["links"]["self"])).json()["metadata"] == metadata


async def test_a_compressed_body_is_refused_with_what_to_do(service: Service) -> None:
    response = await post(service, gzip.compress(orjson.dumps(TXT2IMG)), **{"content-encoding": "gzip"})
    assert "uncompressed" in refused(response, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"])
async def test_another_content_type_is_415(service: Service, kind: str) -> None:
    refused(await post(service, orjson.dumps(TXT2IMG), **{"content-type": kind}), 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"])
async def test_json_is_accepted_under_any_of_its_media_types(service: Service, kind: str) -> None:
    assert (await post(service, orjson.dumps(TXT2IMG), **{"content-type": kind})).status_code == 202


@pytest.mark.parametrize("way", ["declared", "chunked"])
@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/subscriptions"])
async def test_a_body_that_is_too_large_is_413(env: dict[str, str], path: str, way: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b" " * 1000

    async with running(env | {"MAX_BODY_BYTES": "2048"}) as service:
        answer = await service.client.post(path, content=b" " * 10_000 if way == "declared" else pieces())
        refused(answer, 413, "payload_too_large")
        assert (await post(service, orjson.dumps(TXT2IMG))).status_code == 202


async def test_a_declared_length_that_is_too_large_is_413_before_the_body_is_sent(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
    writer.write(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: alice-key\r\nContent-Length: 99999999\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_body_that_arrives_too_slowly_is_408(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
    writer.write(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: alice-key\r\nContent-Length: 10\r\n\r\n{")
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_an_unexpected_error_is_500_without_details(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(query: object) -> None:
        raise RuntimeError("the inner word")

    monkeypatch.setattr(service.bridge.store.tasks, "find", broken)
    answer = await service.client.get("/v1/tasks")
    refused(answer, 500, "internal_error")
    assert "inner word" not in answer.text
    assert "inner word" in caplog.text


async def test_no_key_and_no_body_is_in_any_log_line(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for name in ("httpx", "httpcore"):  # the tests' own client
        caplog.set_level("CRITICAL", name)
    await service.anybody.get("/v1/tasks", headers={"X-API-Key": "a-guessed-key"})
    await post(service, b'{"my secret')
    await service.finished(txt2img())
    for word in ("alice-key", "a-guessed-key", "my secret", "piapi-test-key"):
        assert word not in caplog.text
