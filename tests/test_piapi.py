"""PiAPI's answers, callbacks, fetches, cancels and history, read into updates."""

from typing import Any

import orjson
import pytest
from msgspec.structs import asdict

from service.core.task import Status
from service.core.update import Update
from service.ports.providers import Accepted, Busy, CallbackRefused, Rejected, Unclear
from service.providers import redact, statuses
from service.providers.piapi.provider import PiAPI
from tests.samples import (
    CALLBACK,
    KEY,
    TASK_ID,
    asked,
    differs,
    each,
    error_of,
    make_task,
    output_of,
    piapi,
    provider,
    provider_response,
)

KINDS = {"accepted": Accepted, "rejected": Rejected, "busy": Busy, "unclear": Unclear}


@pytest.mark.parametrize(("name", "sample"), each("*/answers"))
def test_a_documented_response_is_read_as_documented(name: str, sample: dict[str, Any]) -> None:
    task, expect = make_task(name, **sample["task"]), sample["expect"]
    response = (
        provider(name).submit(task, CALLBACK).read(provider_response(sample["body"], sample["http"], sample["headers"]))
    )
    assert isinstance(response, KINDS[expect["answer"]])
    if isinstance(response, Accepted):
        assert differs(response.update, expect) == []
    elif isinstance(response, Rejected):
        assert differs(Update(Status.FAILED, error=response.error), expect) == []
    elif isinstance(response, Busy):
        assert response.retry_after == expect["retry_after"]


@pytest.mark.parametrize(("name", "sample"), each("*/fetches"))
def test_a_fetch_of_the_documents_is_read_as_it_is_meant(name: str, sample: dict[str, Any]) -> None:
    body = sample["body"]
    given_id = sample.get("provider_task_id") or body.get("data", body).get("task_id") or "unknown"
    task = make_task(name, **sample["task"], provider_task_id=given_id)
    update = asked(provider(name).fetch(task)).read(provider_response(body, sample["http"]))
    if sample["expect"].get("says_nothing"):
        assert update is None
    else:
        assert update is not None
        assert differs(update, sample["expect"]) == []


@pytest.mark.parametrize(("name", "sample"), each("*/callbacks"))
def test_a_callback_of_the_documents_is_read_as_it_is_meant(name: str, sample: dict[str, Any]) -> None:
    update = provider(name).read_callback(TASK_ID, orjson.dumps(sample["body"]))
    assert differs(update, sample["expect"]) == []
    for secret in ("the-secret", "webhooks/piapi/TOKEN", KEY):
        assert secret not in str(asdict(update))


def callback_body(**fields: Any) -> bytes:
    return orjson.dumps({"timestamp": 1, "data": {"task_id": "t1", "status": "completed", **fields}})


# --- states (traps 18, 19, 20, 25) ---


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Completed", Status.COMPLETED),
        (" SUCCESS ", Status.COMPLETED),
        ("Failed", Status.FAILED),
        ("processing\t", Status.PROCESSING),
        ("running", Status.PROCESSING),
        ("Staged", Status.SUBMITTED),
        ("retry", Status.SUBMITTED),
        ("starting", Status.SUBMITTED),
        ("Pending", Status.SUBMITTED),
        ("cancelled", Status.CANCELED),
        ("", None),
        ("finalizing", None),
        (99, None),
        (None, None),
    ],
)
def test_a_state_is_known_in_every_spelling_and_open_otherwise(word: Any, status: Status | None) -> None:
    assert statuses.status_of(word) is status
    assert piapi().read_callback(TASK_ID, callback_body(status=word, output={"image_url": "https://x.example/i.png"}))


@pytest.mark.parametrize("output", [{"status": 99, "video_url": ""}, {"state": "completed", "video": {"url": None}}])
def test_a_state_inside_the_output_is_not_the_tasks(output: dict[str, Any]) -> None:
    assert piapi().read_callback(TASK_ID, callback_body(status="pending", output=output)).status is Status.SUBMITTED


@pytest.mark.parametrize("output", [None, {}, {"image_url": "", "image_urls": None}, {"video": {"url": ""}}, ""])
def test_done_without_an_address_and_without_a_text_is_no_output(output: Any) -> None:
    update = piapi().read_callback(TASK_ID, callback_body(output=output))
    assert update.status is Status.FAILED
    assert error_of(update)["code"] == "no_output"


def test_midjourney_without_image_urls_still_has_its_temporary_ones() -> None:
    output = {"image_urls": None, "temporary_image_urls": ["https://x.example/1.png", "https://x.example/2.png"]}
    update = piapi().read_callback(TASK_ID, callback_body(model="midjourney", output=output))
    assert output_of(update)["urls"] == output["temporary_image_urls"]


@pytest.mark.parametrize("time", ["2025-06-30T07:11:30.719851187Z", "", "0001-01-01T00:00:00Z", "nonsense", None, 7])
def test_the_providers_times_prove_nothing_and_break_nothing(time: Any) -> None:
    meta = {"created_at": time, "started_at": time, "ended_at": time}
    assert piapi().read_callback(TASK_ID, callback_body(status="processing", meta=meta)).status is Status.PROCESSING


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"code": 1, "raw_message": "raw", "message": "plain"}, "raw"),
        ({"code": 1, "raw_message": "", "message": "plain"}, "plain"),
        ({"code": 1, "message": "", "detail": "the detail"}, "the detail"),
        ({"code": 1, "message": {"prompt": ["is required"]}}, "prompt: is required"),
        ("only text", "only text"),
        (None, None),
    ],
)
def test_the_most_telling_error_text_is_kept(error: Any, text: str | None) -> None:
    update = piapi().read_callback(TASK_ID, callback_body(status="failed", error=error))
    assert error_of(update)["provider_message"] == text


# --- who may call ---


@pytest.mark.parametrize("given", [b"", b"wrong", b"callback-secret ", b"\xc3\xa9", b"\xe9", b"callback-secre"])
def test_a_call_without_the_right_secret_is_refused(given: bytes) -> None:
    with pytest.raises(CallbackRefused) as refused:
        piapi().authenticate({b"x-webhook-secret": given}, [CALLBACK.secret])
    assert (refused.value.status, refused.value.result) == (401, "bad_secret")
    with pytest.raises(CallbackRefused):
        piapi().authenticate({}, [CALLBACK.secret])


def test_an_empty_expected_secret_lets_nobody_pass() -> None:
    with pytest.raises(CallbackRefused):
        piapi().authenticate({b"x-webhook-secret": b""}, [""])


@pytest.mark.parametrize("secrets", [[CALLBACK.secret], ["newer", CALLBACK.secret], [CALLBACK.secret, "older"]])
def test_the_secret_of_any_key_passes(secrets: list[str]) -> None:
    piapi().authenticate({b"x-webhook-secret": CALLBACK.secret.encode()}, secrets)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b"{",
        b"\xff\xfe",
        b"[" * 5000,
        b"{}",
        b'{"data":[]}',
        b'{"data":{"task_id":""}}',
        b"\0",
    ],
)
def test_a_body_without_a_task_is_malformed(body: bytes) -> None:
    with pytest.raises(CallbackRefused) as refused:
        piapi().read_callback(TASK_ID, body)
    assert (refused.value.status, refused.value.result) == (400, "malformed")


# --- echoes (traps 9, 15), load, asking ---


@pytest.mark.parametrize(
    ("config", "dropped"),
    [
        ({"webhook_config": {"endpoint": CALLBACK.url, "secret": "x"}}, False),
        ({"webhook_config": {"endpoint": "", "secret": ""}}, True),
        ({"webhook_config": None}, True),
        ({"service_mode": ""}, True),
        (None, False),
    ],
)
def test_a_callback_address_that_was_dropped_is_noticed(config: Any, dropped: bool) -> None:
    body = {"code": 200, "data": {"task_id": "t", "status": "pending", "config": config}}
    response = piapi().submit(make_task("piapi"), CALLBACK).read(provider_response(body))
    assert isinstance(response, Accepted)
    assert response.update.callback_dropped is dropped


def test_nothing_secret_comes_out_of_an_echo() -> None:
    echo = {"endpoint": CALLBACK.url, "secret": CALLBACK.secret}
    output = {"image_url": "https://x.example/i.png", "webhook_config": echo, "note": f"{CALLBACK.url} {KEY}"}
    update = piapi().read_callback(TASK_ID, callback_body(output=output, config={"webhook_config": echo}))
    shown = str(asdict(update))
    assert not any(secret in shown for secret in ("to-ken_signature", CALLBACK.secret, KEY))


def test_an_audited_body_is_cut_and_holds_no_secret() -> None:
    body = {"data": {"task_id": "t", "config": {"webhook_config": {"endpoint": CALLBACK.url, "secret": "s3cr3t"}}}}
    kept = redact.audit(orjson.dumps(body | {"long": "x" * 100_000, "key": KEY}), KEY)
    assert "t" in kept
    assert len(kept) < 20_000
    assert not any(secret in kept for secret in ("to-ken_signature", "s3cr3t", KEY))
    assert "to-ken_signature" not in redact.audit(f"no json {CALLBACK.url}".encode())


@pytest.mark.parametrize(
    ("header", "body", "wait"),
    [
        ("3.5", {}, 3.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", {}, 0.0),
        ("-5", {}, 0.0),
        ("soon", {}, None),
        ("nan", {}, None),
        (None, {"retry_after": 30}, 30.0),
        (None, {}, None),
        ("999999", {}, 3600.0),
    ],
)
def test_how_long_to_wait_is_read_from_header_or_body(header: str | None, body: Any, wait: float | None) -> None:
    headers = {} if header is None else {"retry-after": header}
    response = piapi().submit(make_task("piapi"), CALLBACK).read(provider_response(body, 429, headers))
    assert response == Busy(wait)


def test_a_task_is_asked_for_and_canceled_by_its_quoted_id() -> None:
    task = make_task("piapi", provider_task_id="a/../b?c")
    room = piapi()
    fetch, cancel = asked(room.fetch(task)).request, asked(room.cancel(task)).request
    assert (fetch.method, cancel.method, fetch.url) == ("GET", "DELETE", cancel.url)
    assert fetch.url == "https://api.piapi.ai/api/v1/task/a%2F..%2Fb%3Fc"
    assert room.fetch(make_task("piapi")) is None


def test_a_refused_cancel_says_that_only_pending_tasks_can_be_canceled() -> None:
    cancel = asked(piapi().cancel(make_task("piapi", provider_task_id="t")))
    assert cancel.read(provider_response({"code": 200, "message": "task t canceled"})) is None
    refusal = cancel.read(provider_response({"code": 400, "message": "task is processing"}, 400))
    assert refusal is not None
    assert "task is processing" in refusal
    assert "pending" in refusal
    assert cancel.read(provider_response({"code": 500, "message": "no"})) is not None


def test_a_lost_task_is_found_in_the_history_by_its_callback_address_alone() -> None:
    room, task = piapi(), make_task("piapi", sent_at=1_700_000_100_000)
    search = asked(room.search(task, CALLBACK.url.__eq__, 2))
    request = search.request
    assert "page=2" in request.url
    assert "model=flux" in request.url
    assert "start_time=1700000040" in request.url

    def entry(task_id: str, endpoint: str) -> dict[str, Any]:
        config = {"webhook_config": {"endpoint": endpoint}}
        return {"task_id": task_id, "status": "processing", "input": task.input, "config": config}

    page = {"code": 200, "data": {"tasks": [entry("other", "https://x.example"), entry("mine", CALLBACK.url)]}}
    found = search.read(provider_response(page))
    assert found is not None
    assert found.provider_task_id == "mine"
    same_prompt = {"data": [entry("other", "")]}
    assert search.read(provider_response(same_prompt)) is None


def test_inline_pictures_are_saved_and_replaced_by_their_address() -> None:
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    update = piapi().read_callback(TASK_ID, callback_body(output={"image_base64": png, "image_url": ""}))
    assert output_of(update)["url"] == "https://media.test/1.png"
    assert update.files[0].data.startswith(b"\x89PNG")
    assert png not in str(output_of(update))


def test_a_key_as_short_as_a_word_does_not_spoil_the_addresses_of_results() -> None:
    room = PiAPI("p", "https://api.piapi.ai", "https://proxy.piapi.ai", 5)
    data = {"task_id": "1", "status": "completed", "output": {"image_url": "https://img.example.com/p.png"}}
    update = room.read_callback("tsk_1", orjson.dumps({"timestamp": 1, "data": data}))
    assert output_of(update)["url"] == "https://img.example.com/p.png"
