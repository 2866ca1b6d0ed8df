"""What providers really send, read for what it means: damaged JSON, odd words, results and reasons in odd places."""

import base64
import gzip
import time
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from service.core.task import Status
from service.core.update import Update
from service.ports.providers import Accepted, Busy, Rejected, Unclear
from service.providers import documents, outputs, texts
from tests.samples import (
    CALLBACK,
    KEY,
    TASK_ID,
    asked,
    error_of,
    make_task,
    modelslab,
    output_of,
    piapi,
    provider_response,
    reader_of,
)

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"p" * 60).decode()
X = "https://x.example/"
URL = X + "a.png"
ASKED = {"messages": [{"role": "user", "content": "hi"}]}
CHAT = {"model": "gpt-4o-mini", "task_type": "chat-completions", "input": ASKED}
DRAWING = {**CHAT, "model": "gpt-4o-image"}
IMAGES = {"model": "gpt-image-1", "task_type": "image-generations", "input": {"prompt": "a city"}}


def of_piapi(**data: Any) -> bytes:
    return orjson.dumps({"timestamp": 1, "data": {"task_id": "t", "status": "completed", **data}})


def of_modelslab(**fields: Any) -> bytes:
    return orjson.dumps({"status": "success", "id": 5, "track_id": TASK_ID, **fields})


def finished(provider: str, result: Any) -> Update:
    """The update of a callback that brings `result` as its output."""
    if provider == "piapi":
        return piapi().read_callback(TASK_ID, of_piapi(output=result))
    return modelslab().read_callback(TASK_ID, of_modelslab(output=result))


# --- JSON as it comes ---

GOOD = {
    "piapi": of_piapi(output={"image_url": URL}, meta={"prompt": "@"}),
    "modelslab": of_modelslab(output=[URL], meta={"prompt": "@"}),
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "lone surrogate": lambda body: body.replace(b"@", rb"party \ud83d"),
    "low surrogate alone": lambda body: body.replace(b"@", rb"\ude00 party"),
    "NaN": lambda body: body.replace(b'"@"', b"NaN"),
    "Infinity": lambda body: body.replace(b'"@"', b"-Infinity"),
    "nan of C": lambda body: body.replace(b'"@"', b"-nan"),
    "BOM": lambda body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "raw line break": lambda body: body.replace(b"@", b"two\r\nlines\tand a tab"),
    "raw control characters": lambda body: body.replace(b"@", b"\x00\x01\x1f"),
    "latin-1": lambda body: body.replace(b"@", b"caf\xe9"),
    "surrogate as UTF-8": lambda body: body.replace(b"@", b"\xed\xa0\xbd"),
    "unknown escape": lambda body: body.replace(b"@", rb"C:\pictures\u12"),
    "notice before": lambda body: b"<br />\n<b>Notice</b>:  Undefined index: x in {main} on line 3<br />\n" + body,
    "notice after": lambda body: body + b"\n<!-- generated in 0.3 s {} -->",
    "JSONP": lambda body: b"callback(" + body + b");",
    "line before": lambda body: b")]}'\n" + body,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "JSON in a string": lambda body: orjson.dumps(body.decode()),
    "list of one": lambda body: b"[" + body + b"]",
    "trailing comma": lambda body: body[:-1] + b",}",
    "number beyond 64 bits": lambda body: body.replace(b'"@"', b"123456789012345678901234567890"),
}


@pytest.mark.parametrize("provider", GOOD)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_json_is_read_with_a_warning_in_responses_callbacks_and_lookups(provider: str, damage: str) -> None:
    body = DAMAGES[damage](GOOD[provider])
    room = piapi() if provider == "piapi" else modelslab()
    task = make_task(provider, model="kling" if provider == "piapi" else "v6", provider_task_id="t")
    response, fetched = (
        room.submit(task, CALLBACK).read(provider_response(body)),
        asked(room.fetch(task)).read(provider_response(body)),
    )
    assert isinstance(response, Accepted)
    assert fetched is not None
    for update in (response.update, room.read_callback(TASK_ID, body), fetched):
        assert (update.status, output_of(update)["urls"]) == (Status.COMPLETED, [URL])
        assert orjson.dumps(output_of(update))
        if damage != "number beyond 64 bits":  # valid, but no number that every store can keep
            assert update.warnings
            assert update.inferred


@pytest.mark.parametrize("damage", ["NaN", "raw line break", "lone surrogate", "latin-1", "BOM", "notice before"])
@pytest.mark.parametrize("streamed", [True, False])
def test_damaged_json_is_read_in_streams_too(damage: str, streamed: bool) -> None:
    response = b'{"created":1,"x":"@","choices":[{"index":0,"delta":{"content":"Hello"}}]}'
    body = DAMAGES[damage](b"data: " + response + b"\n\ndata: [DONE]\n\n" if streamed else response)
    reader = reader_of(make_task("piapi", **CHAT))
    reader.feed(body)
    assert output_of(reader.finish(True))["text"] == "Hello"


@pytest.mark.parametrize("form", ["text", "list", "form", "nested form", "multipart"])
def test_data_is_read_as_a_text_as_a_list_and_as_a_form(form: str) -> None:
    data = {"task_id": "t", "status": "completed", "output": {"image_urls": [URL]}}
    text = orjson.dumps(data).decode()
    nested = {"data[task_id]": "t", "data[status]": "completed", "data[output][image_urls][0]": URL}
    part = '--xyz\r\nContent-Disposition: form-data; name="data"\r\n\r\n'
    body = {
        "text": orjson.dumps({"data": text}),
        "list": orjson.dumps({"data": [data]}),
        "form": urlencode({"timestamp": 1, "data": text}).encode(),
        "nested form": urlencode(nested).encode(),
        "multipart": f"{part}{text}\r\n--xyz--\r\n".encode(),
    }[form]
    update = piapi().read_callback(TASK_ID, body)
    assert output_of(update)["urls"] == [URL]


def test_a_form_of_modelslab_is_read() -> None:
    fields = {"status": "success", "id": "5", "track_id": TASK_ID, "output[0]": URL, "output[1]": URL + "?2"}
    update = modelslab().read_callback(TASK_ID, urlencode(fields).encode())
    assert output_of(update)["urls"] == [URL, URL + "?2"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"hello", b"[]", b"null", b"<html>{}</html>", b"a=b", b"status", b"\x1f\x8bnot gzip", b'"x"'),
        b'{"data":{"task_id":"t","status":"completed","output":{"image_url":X + "a.png"},"cut":',
        b"{" * 100_000,
        b'{"a":' * 5_000,
    ],
)
def test_what_was_cut_off_or_is_no_document_is_not_made_up(body: bytes) -> None:
    found = documents.read(body)
    assert found is None or found.value in ({}, {"a": "b"})


@pytest.mark.parametrize(
    "body",
    [
        b"{" * (8 << 20),
        b'{"a":' * (2 << 20),
        b'"' * (8 << 20),
        b'{"\\"' * (2 << 20),
        b"\\u" * (4 << 20),
        b"," * (8 << 20),
        b"{" + b" " * (8 << 20),
        (b"," + b" " * 1000) * 8000,
        b"NaN " * (2 << 20),
        b"<" * (8 << 20),
        b"a=b&" * (2 << 20),
        b"a=" + b"%" * (8 << 20),
        b"--b\n" * (2 << 20),
        b'{"a":nan,"b":"' + b"x" * (8 << 20),
        zlib.compress(b"[" * (60 << 20)),
    ],
    ids=range(15),
)
def test_hostile_megabytes_are_read_in_bounded_time(body: bytes) -> None:
    started = time.process_time()
    assert documents.read(body) is None
    assert time.process_time() - started < 3


# --- words ---

ENDS = {
    Status.COMPLETED: "succeeded succeed success done finished complete Completed SUCCEEDED TASK_STATUS_SUCCEED",
    Status.FAILED: "failure rejected error expired timeout timed_out TIMED-OUT failed Fail task_failed",
    Status.CANCELED: "cancelled canceled Cancelled cancel",
}


@pytest.mark.parametrize(
    ("status", "word"), [(status, word) for status, words in ENDS.items() for word in words.split()]
)
def test_a_synonym_finishes_the_task_and_is_kept_as_provider_status(status: Status, word: str) -> None:
    for update in (
        piapi().read_callback(TASK_ID, of_piapi(status=word, output={"image_url": URL}, error={"message": "no"})),
        modelslab().read_callback(TASK_ID, of_modelslab(status=word, output=[URL], message="no")),
    ):
        assert (update.status, update.provider_status) == (status, word)


def test_an_unknown_status_keeps_the_output_and_is_checked_again() -> None:
    for update in (
        piapi().read_callback(TASK_ID, of_piapi(status="finalizing", output={"image_url": URL})),
        modelslab().read_callback(TASK_ID, of_modelslab(status="finalizing", output=[URL])),
    ):
        assert (update.status, update.provider_status, update.doubtful) == (None, "finalizing", True)
        assert output_of(update)["urls"] == [URL]


@pytest.mark.parametrize("empty", [None, "", [], {}, {"image_url": ""}, [""], [None]])
@pytest.mark.parametrize("provider", ["piapi", "modelslab"])
def test_completed_without_a_result_is_no_output_that_may_be_corrected(provider: str, empty: Any) -> None:
    update = finished(provider, empty)
    assert (update.status, error_of(update)["code"]) == (Status.FAILED, "no_output")
    assert update.inferred
    assert update.doubtful


# --- where the result lies ---

ADDRESSES = {
    "blank": (X + "my film 01.png", [X + "my%20film%2001.png"]),
    "blanks around": (f"  {URL}\n", [URL]),
    "unicode": (X + "café/图.png", [X + "caf%C3%A9/%E5%9B%BE.png"]),
    "encoded already": (X + "my%20film.png?a=%2F", [X + "my%20film.png?a=%2F"]),
    "host beyond ASCII": ("https://bücher.example/a.png", ["https://xn--bcher-kva.example/a.png"]),
    "no scheme": ("//x.example/a.png", [URL]),
    "capital scheme": ("HTTPS://x.example/a.png", [URL]),
    "commas": (f"{URL},{URL}?2", [URL, f"{URL}?2"]),
    "comma and blank": (f"{URL}, {URL}?2 ,\n{URL}?3", [URL, f"{URL}?2", f"{URL}?3"]),
    "semicolons": (f"{URL};{URL}?2;", [URL, f"{URL}?2"]),
    "lines": (f"{URL}\n{URL}?2\n", [URL, f"{URL}?2"]),
    "a comma of its own": (X + "a,b.png", [X + "a,b.png"]),
    "words behind": (f"{URL} is your picture", [URL]),
    "JSON": (orjson.dumps({"resultUrls": [URL]}).decode(), [URL]),
    "JSON in JSON": (orjson.dumps({"x": orjson.dumps([{"url": URL}]).decode()}).decode(), [URL]),
    "inline": (PNG, ["https://media.test/1.png"]),
    "data address": (f"data:image/png;base64,{PNG}", ["https://media.test/1.png"]),
    "data address in JSON": (
        orjson.dumps({"u": f"data:image/png;base64,{PNG}"}).decode(),
        ["https://media.test/1.png"],
    ),
}


@pytest.mark.parametrize("provider", ["piapi", "modelslab"])
@pytest.mark.parametrize("case", ADDRESSES)
def test_addresses_are_found_however_they_are_written(provider: str, case: str) -> None:
    text, urls = ADDRESSES[case]
    for result in ([text], {"image_urls": text}, {"key": [{"key": text}]}):
        assert output_of(finished(provider, result))["urls"] == urls, result


def test_results_of_modelslab_lie_in_links_and_proxy_links_too() -> None:
    for name in ("links", "proxy_links"):
        update = modelslab().read_callback(TASK_ID, of_modelslab(**{"output": "", name: [URL]}))
        assert output_of(update)["urls"] == [URL]


@pytest.mark.parametrize(
    ("output", "first", "kind"),
    [
        ({"video_url": URL[:-4] + "/film"}, URL[:-4] + "/film", "video"),
        (
            {"video": {"thumbnail_url": X + "t", "url": X + "v"}},
            X + "v",
            "video",
        ),
        ({"result": {"url": X + "r", "content_type": "audio/mpeg"}}, X + "r", "audio"),
        ({"url": X + "get?file=a.mp4"}, X + "get?file=a.mp4", "video"),
        (
            {"video": {"image_url": X + "i", "sound_url": X + "s"}},
            X + "s",
            "audio",
        ),
        ([X + "out_watermark.mp4", X + "out.mp4"], X + "out.mp4", "video"),
        (
            [X + "out.mp4", X + "no-watermark/out.mp4"],
            X + "no-watermark/out.mp4",
            "video",
        ),
        ([X + "cover.png", URL], URL, "image"),
        ([X + "thumb/a.png", X + "preview_a.png", URL], URL, "image"),
        ({"cover": X + "c.png", "song": X + "s.mp3"}, X + "s.mp3", "audio"),
        ({"url": [X + "c.jpeg", X + "s.mp3"]}, X + "s.mp3", "audio"),
    ],
)
def test_kind_and_rank_follow_address_type_and_field_name(output: Any, first: str, kind: str) -> None:
    found = outputs.addresses(output)
    assert (found[0].url, found[0].kind) == (first, kind)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"seed": 1234567890}, "1234567890"),
        ({"seed": 0.5}, "0.5"),
        ({"captions": ["a man", "a dog"]}, "a man\na dog"),
        (["a man and a dog"], "a man and a dog"),
        ("a man and a dog", "a man and a dog"),
        ({"text": ["one", "two"]}, "one\ntwo"),
        ({"description": {"content": "nested"}}, "nested"),
    ],
)
@pytest.mark.parametrize("provider", ["piapi", "modelslab"])
def test_numbers_and_lists_are_the_text_of_a_result(provider: str, output: Any, text: str) -> None:
    shown = output_of(finished(provider, output))
    assert (shown["text"], shown["urls"]) == (text, [])


def test_a_seed_beside_a_picture_is_no_text() -> None:
    assert output_of(finished("piapi", {"image_url": URL, "seed": 5}))["text"] is None


# --- redaction hides what is ours, and nothing else ---


def test_a_result_under_webhooks_and_a_field_called_key_stay_whole() -> None:
    for address in (X + "webhooks/piapi/abc.png", X + "webhooks/mine/secret/file.png"):
        shown = output_of(finished("piapi", {"key": address, "secret": address, "webhook": address}))
        assert shown["urls"] == [address]
        assert shown["raw"] == {"key": address, "secret": address, "webhook": address}


def test_our_key_and_tokens_are_hidden_wherever_they_stand() -> None:
    shown = str(output_of(finished("piapi", {"image_url": URL, "a": f"x {KEY} y", "b": [CALLBACK.url]})))
    assert KEY not in shown
    assert "to-ken_signature" not in shown


# --- why it failed ---

REASONS: list[tuple[dict[str, Any], str]] = [
    (
        {"error": {"code": 1, "message": "bad length", "detail": {"reason": "1 to 2500 characters"}}},
        "bad length: 1 to 2500",
    ),
    ({"error": {"message": "task failed", "raw_message": "failed to download"}}, "failed to download"),
    ({"error": {"message": "success"}, "detail": "image pixel count is invalid"}, "image pixel count is invalid"),
    ({"error": {"message": "task failed"}, "output": {"task_status_msg": "too dark"}}, "too dark"),
    ({"error": {}, "output": {"works": [{"error": {"message": "an artist's name"}}]}}, "an artist's name"),
    ({"error": None, "logs": ["starting", "loading", "out of memory"]}, "out of memory"),
    ({"error": {"message": "Task failed."}, "message": "the model is gone"}, "the model is gone"),
    ({"error": '{"message": "inside a text"}'}, "inside a text"),
    ({"error": ["first", "second"]}, "first; second"),
    ({"error": {"detail": [{"loc": ["body", "seed"], "msg": "not a number"}]}}, "body.seed: not a number"),
]


@pytest.mark.parametrize(("data", "text"), REASONS)
def test_the_most_specific_reason_is_reported(data: dict[str, Any], text: str) -> None:
    update = piapi().read_callback(TASK_ID, of_piapi(status="failed", **data))
    error = error_of(update)
    assert text in error["provider_message"]
    assert text in error["message"]


@pytest.mark.parametrize("word", ["success", "task failed", "failed", "Error", "", None])
def test_a_text_without_a_cause_is_not_a_reason(word: Any) -> None:
    update = piapi().read_callback(TASK_ID, of_piapi(status="failed", error={"message": word}))
    assert error_of(update)["message"] == "PiAPI could not do the task and gave no reason"


PAGE = "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body>no</body></html>"
REFUSALS: list[tuple[str, int, Any, tuple[str, ...]]] = [
    ("piapi", 200, {"code": 10000, "message": "insufficient credits"}, ("insufficient credits", "top it up")),
    ("piapi", 200, {"error": "Unauthorized"}, ("Unauthorized",)),
    ("piapi", 200, {"code": 400, "message": "bad model"}, ("bad model",)),
    ("piapi", 500, {"code": 500, "message": "failed", "data": {"task_id": "", "status": "failed",
        "error": {"raw_message": "failed to freeze point"}}}, ("freeze point", "top it up")),
    ("piapi", 502, {"code": 500, "data": {"status": "rejected", "detail": "not allowed"}}, ("not allowed",)),
    ("piapi", 403, PAGE, ("firewall", "Attention Required", "PIAPI_BASE_URL")[:1]),
    ("piapi", 302, "", ("redirect", "PIAPI_BASE_URL")),
    ("piapi", 429, {"message": "insufficient balance"}, ("insufficient balance", "top it up")),
    ("piapi", 422, {"message": "invalid", "errors": {"seed": ["must be a number"]}}, ("seed", "must be a number")),
    ("modelslab", 200, {"error": "Unauthorized"}, ("Unauthorized", "MODELSLAB_API_KEY")),
    ("modelslab", 200, {"status": "error", "message": "You have no credits left"}, ("no credits", "top it up")),
    ("modelslab", 500, {"status": "failed", "message": "model crashed"}, ("model crashed",)),
    ("modelslab", 403, PAGE, ("firewall",)),
    ("modelslab", 301, "", ("redirect", "MODELSLAB_BASE_URL")),
    ("modelslab", 429, {"status": "error", "message": "insufficient balance"}, ("insufficient balance", "top it up")),
    ("modelslab", 422, {"message": "The given data was invalid.", "errors": {"init_image": ["must be a URL"]}},
        ("init_image: must be a URL",)),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "status", "body", "told"), REFUSALS)
def test_a_refused_submit_fails_with_the_providers_message(
    provider: str, status: int, body: Any, told: tuple[str, ...]
) -> None:
    room = piapi() if provider == "piapi" else modelslab()
    task = make_task(provider, model="kling" if provider == "piapi" else "v6")
    response = room.submit(task, CALLBACK).read(provider_response(body, status, {"location": "https://new.example/x"}))
    assert isinstance(response, Rejected)
    text = f"{response.error.message} {response.error.provider_message}"
    assert all(words in text for words in told), text
    assert "<" not in text


@pytest.mark.parametrize("provider", ["piapi", "modelslab"])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {}),
        (502, PAGE),
        (503, "busy"),
        (200, PAGE),
        (200, {}),
        (200, {"code": 200, "message": "success"}),
        (504, ""),
    ],
)
def test_a_response_without_a_task_is_unclear(provider: str, status: int, body: Any) -> None:
    room = piapi() if provider == "piapi" else modelslab()
    response = room.submit(make_task(provider, model="kling"), CALLBACK).read(provider_response(body, status))
    assert isinstance(response, Unclear)
    assert "<" not in response.reason


@pytest.mark.parametrize("provider", ["piapi", "modelslab"])
@pytest.mark.parametrize(
    "message",
    [
        *("Rate limit exceeded. Maximum 5 queued requests allowed.", "Too many requests", "slow down", ""),
        *("quota of 10 requests per minute exceeded, upgrade your billing plan to top up", "concurrency limit"),
    ],
)
def test_too_many_requests_are_no_failure(provider: str, message: str) -> None:
    room = piapi() if provider == "piapi" else modelslab()
    task = make_task(provider, model="kling" if provider == "piapi" else "v6")
    assert isinstance(
        room.submit(task, CALLBACK).read(provider_response({"status": "error", "message": message}, 429)), Busy
    )


@pytest.mark.parametrize("kind", ["type", "code"])
def test_an_empty_account_is_recognised_by_the_error_type_alone(kind: str) -> None:
    body = {"error": {"message": "see your dashboard", kind: "insufficient_quota"}}
    response = piapi().submit(make_task("piapi", **CHAT), CALLBACK).read(provider_response(body, 429))
    assert isinstance(response, Rejected)
    assert "top it up" in response.error.message


# --- ids ---


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"id": 5, "request_id": 6}, "5"),
        ({"id": None, "request_id": "6"}, "6"),
        ({"id": "", "fetch_result": "https://modelslab.com/api/v6/images/fetch/777001"}, "777001"),
        ({"fetch_result": "https://modelslab.com/api/v6/images/fetch/abc-1/?x=1"}, "abc-1"),
        ({"fetch_result": 5}, None),
    ],
)
def test_the_id_of_modelslab_is_found(fields: dict[str, Any], found: str | None) -> None:
    body = {"status": "processing", "track_id": TASK_ID, **fields}
    assert modelslab().read_callback(TASK_ID, orjson.dumps(body)).provider_task_id == found


# --- chats ---


def chat(task: dict[str, Any], *payloads: Any, end: bytes = b"data: [DONE]\n\n") -> Update:
    reader = reader_of(make_task("piapi", **task))
    for payload in payloads:
        reader.feed(b"data: " + orjson.dumps(payload) + b"\n\n")
    reader.feed(end)
    return reader.finish(True)


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


PICTURED: list[Any] = [
    delta(content=[{"type": "text", "text": "here"}, {"type": "image_url", "image_url": {"url": URL}}]),
    delta(content=[{"type": "image_url", "image_url": URL}]),
    delta(content="", images=[{"type": "image_url", "image_url": {"url": URL}}]),
    delta(content=None, images=[URL]),
    delta(content="![i](https://x.example/a.png)"),
    delta(content='![i](https://x.example/a.png "a title")'),
    delta(content='<img alt="x" src="https://x.example/a.png">'),
    {"choices": [{"message": {"role": "assistant", "content": "", "images": [{"image_url": {"url": URL}}]}}]},
]


@pytest.mark.parametrize("payload", PICTURED)
@pytest.mark.parametrize("plain", [True, False])
def test_a_picture_in_a_chat_is_found_in_parts_images_and_text(payload: Any, plain: bool) -> None:
    if plain:
        update = chat(DRAWING, end=orjson.dumps(payload))
    else:
        update = chat(DRAWING, payload)
    assert output_of(update)["urls"] == [URL]


@pytest.mark.parametrize("content", [f"data:image/png;base64,{PNG}", f"![x](data:image/png;base64,{PNG})"])
def test_a_picture_in_a_chat_may_be_a_data_address(content: str) -> None:
    for payload in (delta(content=content), delta(images=[{"image_url": {"url": f"data:image/png;base64,{PNG}"}}])):
        update = chat(DRAWING, payload)
        assert output_of(update)["urls"] == ["https://media.test/1.png"]
        assert PNG not in str(output_of(update))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("![i](https://x.example/my picture 1.png)", X + "my%20picture%201.png"),
        ("![i](https://x.example/a_(1).png)", X + "a_(1).png"),
        ("![i](<https://x.example/a b.png>)", X + "a%20b.png"),
        ("![图](https://x.example/图.png)", X + "%E5%9B%BE.png"),
        ("![i](//x.example/a.png)", URL),
        ("[![i](https://x.example/a.png)](https://x.example/page)", URL),
    ],
)
def test_an_address_in_markdown_is_whole(text: str, url: str) -> None:
    assert [found.url for found in texts.pictures(text)] == [url]


@pytest.mark.parametrize(
    "body",
    [
        {"code": 10000, "message": "model is overloaded", "data": None},
        {"error": {"message": "model is overloaded"}},
        {"error": "model is overloaded"},
        {"success": False, "message": "model is overloaded"},
        {"status": "error", "message": "model is overloaded"},
        {"detail": "model is overloaded"},
        {"type": "error", "message": "model is overloaded"},
    ],
)
@pytest.mark.parametrize("task", [CHAT, DRAWING, IMAGES])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_200_with_an_error_is_a_failure_with_its_message(body: Any, task: dict[str, Any], streamed: bool) -> None:
    update = chat(task, body) if streamed else chat(task, end=orjson.dumps(body))
    assert (update.status, error_of(update)["provider_message"]) == (Status.FAILED, "model is overloaded")


@pytest.mark.parametrize("task", [CHAT, DRAWING])
def test_refusals_and_content_filters_are_reported_as_such(task: dict[str, Any]) -> None:
    refused = {
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": None, "refusal": "I cannot help"}}]
    }
    error = error_of(chat(task, end=orjson.dumps(refused)))
    assert "refused" in error["message"]
    assert error["provider_message"] == "I cannot help"
    parts = delta(content=[{"type": "refusal", "refusal": "I cannot help"}])
    assert error_of(chat(task, parts))["provider_message"] == "I cannot help"
    filtered = {"choices": [{"index": 0, "finish_reason": "content_filter", "message": {"content": ""}}]}
    assert "content filter" in error_of(chat(task, end=orjson.dumps(filtered)))["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"url": URL}]},
        {"data": {"url": URL}},
        {"data": [URL]},
        {"images": [{"url": URL}]},
        {"data": [{"image_url": {"url": URL}}]},
        {"url": URL},
    ],
)
def test_the_pictures_of_the_images_api_are_found(body: Any) -> None:
    assert output_of(chat(IMAGES, end=orjson.dumps(body)))["urls"] == [URL]
    assert output_of(chat(IMAGES, body))["urls"] == [URL]


def test_an_inline_picture_of_the_images_api_may_be_a_data_address_or_broken_into_lines() -> None:
    broken = "\r\n".join(PNG[at : at + 20] for at in range(0, len(PNG), 20))
    for item in ({"url": f"data:image/png;base64,{PNG}"}, {"b64_json": PNG}, {"b64_json": broken}):
        assert output_of(chat(IMAGES, {"data": [item]}))["urls"] == ["https://media.test/1.png"]


# --- hostile text ---

LONG = 60_000
HOSTILE = [
    "![](http://" * LONG,
    "](" * LONG,
    "[" * LONG + "](" * LONG,
    "![](" + "(" * LONG,
    ("](" + "(" * 50 + ")" * 40) * (LONG // 90),
    "```" * LONG,
    "https://" * LONG,
    "https://a/" + " " * LONG,
    "," * LONG + " ," * LONG,
    "data:" * LONG,
    "data:image/png;base64," * LONG,
    "data:image/png" + ";x" * LONG,
    "0" * LONG + "%",
    "<" * LONG,
    'src="' * LONG,
    "generation failed" * LONG,
    "{" * LONG,
    "piapi.tsk_" + "0" * LONG,
    "piapi.tsk_" * LONG,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    """Twice the text may take about twice as long; the quadratic patterns took minutes for these."""
    started = time.process_time()
    for task in (CHAT, DRAWING):
        reader = reader_of(make_task("piapi", **task))
        for at in range(0, len(text), 65_536):
            reader.feed(b"data: " + orjson.dumps(delta(content=text[at : at + 65_536])) + b"\n\n")
        reader.finish(True)
    short = text[:60_000]
    for output in (short, [short], {"text": short, "error": short}, {"image_url": X + "" + short}):
        finished("piapi", output)
        finished("modelslab", output)
    piapi().read_callback(TASK_ID, of_piapi(status="failed", error=text, output={"error": text}, logs=text))
    modelslab().read_callback(TASK_ID, of_modelslab(status="failed", message=text))
    piapi().submit(make_task("piapi"), CALLBACK).read(provider_response(text, 500))
    assert time.process_time() - started < 8
