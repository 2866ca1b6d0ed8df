"""The streams that the service holds itself: chats, pictures in chats, inline pictures of many megabytes."""

import base64
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core.result import Progress
from service.core.task import Status
from service.core.update import Update
from service.ports.providers import Accepted, Busy, Rejected, Unclear
from service.providers import event_stream as sse
from service.providers import texts
from tests.samples import CALLBACK, KEY, differs, each, make_task, output_of, piapi, provider_response, reader_of
from tests.samples import error_of as failure_of

ASKED = {"messages": [{"role": "user", "content": "draw a city"}]}
CHAT = {"model": "gpt-4o", "task_type": "chat-completions", "input": ASKED}
DRAWING = {**CHAT, "model": "gpt-4o-image"}
IMAGES = {"model": "gpt-image-1", "task_type": "image-generations", "input": {"prompt": "a city"}}
PICTURE = "https://storage.theapi.app/image/gen-1.png"


def chunk(text: str, **more: Any) -> bytes:
    return (
        b"data: " + orjson.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": text}}], **more}) + b"\n\n"
    )


def read(task: dict[str, Any], *chunks: bytes, complete: bool = True) -> Update:
    reader = reader_of(make_task("piapi", **task))
    for part in chunks:
        reader.feed(part)
    return reader.finish(complete)


def error_of(update: Update) -> dict[str, Any]:
    assert update.status is Status.FAILED
    return failure_of(update)


@pytest.mark.parametrize(("name", "sample"), each("piapi/streams"))
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_stream_of_the_documents_is_read_however_it_is_cut(name: str, sample: dict[str, Any], size: int) -> None:
    body = sample["stream"].encode()
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    assert differs(read(sample["task"], *parts), sample["expect"]) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=6), st.sampled_from([b"\n", b"\r\n"]))
def test_an_address_cut_anywhere_is_found(cuts: list[int], end: bytes) -> None:
    pieces = chunk("Progress 50%\n![x](https://storage.the") + chunk("api.app/image/gen-1.png)") + b"data: [DONE]\n\n"
    body = b": keep-alive\n\n" + pieces
    body = body.replace(b"\n", end)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    update = read(DRAWING, *(body[a:b] for a, b in pairwise(places)))
    assert output_of(update)["urls"] == [PICTURE]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_no_stream_makes_reading_raise(parts: list[bytes], complete: bool) -> None:
    for task in (CHAT, DRAWING, IMAGES):
        assert read(task, *parts, complete=complete).status in {Status.FAILED, Status.COMPLETED}
        assert read(task, b"data: ", *parts, b"\n", complete=complete).status in {Status.FAILED, Status.COMPLETED}


# --- what is sent ---


def sent(task: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    request = piapi().submit(make_task("piapi", **task), CALLBACK).request
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    return request.url, orjson.loads(request.body or b"")


@pytest.mark.parametrize("asked", [None, False, True])
def test_a_chat_is_always_streamed_from_the_host_without_a_time_limit(asked: bool | None) -> None:
    url, body = sent({**CHAT, "input": {**ASKED, "stream": asked}})
    assert (url, body) == ("https://proxy.piapi.ai/v1/chat/completions", {"model": "gpt-4o", **ASKED, "stream": True})


def test_a_picture_chat_is_streamed_from_the_usual_host() -> None:
    url, body = sent({**DRAWING, "input": {**ASKED, "stream": False}})
    assert (url, body["stream"]) == ("https://api.piapi.ai/v1/chat/completions", True)


def test_a_plain_image_call_is_left_plain_when_asked() -> None:
    url, body = sent({**IMAGES, "input": {"prompt": "a city", "stream": False}})
    assert (url, body["stream"]) == ("https://api.piapi.ai/v1/images/generations", False)
    assert "stream" not in sent({**IMAGES, "model": "gpt-image-1.5"})[1]


def test_llm_routes_send_no_callback_address_and_cannot_be_fetched() -> None:
    task = make_task("piapi", **CHAT, provider_task_id="x")
    room = piapi()
    assert CALLBACK.secret.encode() not in (room.submit(task, CALLBACK).request.body or b"")
    assert room.stream_reader(task) is not None
    assert (room.fetch(task), room.cancel(task), room.search(task, bool, 1)) == (None, None, None)


# --- text ---


def test_progress_is_reported_when_it_changes() -> None:
    reader = reader_of(make_task("piapi", **DRAWING))
    assert reader.feed(b": keep-alive\n\n") is None
    first, second = reader.feed(chunk("Generating 25%")), reader.feed(chunk(" ... 100 %"))
    assert first is not None
    assert second is not None
    assert (first.status, first.progress) == (Status.PROCESSING, Progress(14, 25))
    assert second.progress == Progress(24, 100)
    assert reader.feed(b"\n") is None


def test_a_chat_gives_its_text_and_usage() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    last = b"data: " + orjson.dumps({"choices": [], "usage": usage}) + b"\n\n"
    update = read(CHAT, chunk("Hello"), chunk(" you, 50%"), last, b"data: [DONE]\n\n")
    assert (output_of(update)["text"], output_of(update)["url"], update.usage) == ("Hello you, 50%", None, usage)


def test_function_calls_are_a_result_too() -> None:
    def delta(**call: str) -> bytes:
        return b"data: " + orjson.dumps({"choices": [{"delta": {"function_call": call}}]}) + b"\n\n"

    update = read(CHAT, delta(name="weather", arguments=""), delta(arguments='{"in":'), delta(arguments='"Bonn"}'))
    [choice] = output_of(update)["raw"]["choices"]
    call = {"name": "weather", "arguments": '{"in":"Bonn"}'}
    assert choice["message"]["tool_calls"] == [{"type": "function", "function": call}]


def test_a_long_text_is_whole() -> None:
    update = read(CHAT, *[chunk("word " * 1000)] * 100)
    assert len(output_of(update)["text"]) == 500_000
    assert len(orjson.dumps(output_of(update)["raw"])) < 100_000


@pytest.mark.parametrize("task", [CHAT, DRAWING, IMAGES])
def test_a_broken_connection_is_interrupted_without_a_result(task: dict[str, Any]) -> None:
    assert error_of(read(task, chunk("Hello"), complete=False))["code"] == "stream_interrupted"


@pytest.mark.parametrize(
    "end", [b"data: [DONE]\n\n", b"data: [none]\n", b'data: {"choices":[{"finish_reason":"stop"}]}']
)
def test_a_line_that_broke_after_the_end_was_seen_is_complete(end: bytes) -> None:
    assert read(CHAT, chunk("Hello"), end, complete=False).status is Status.COMPLETED


def test_an_error_in_the_stream_is_a_failure_with_its_text() -> None:
    error = error_of(read(CHAT, chunk("Hel"), b'data: {"error":{"message":"overloaded"}}\n\n'))
    assert (error["code"], error["provider_message"]) == ("provider_failed", "overloaded")


def test_an_empty_response_is_no_output() -> None:
    assert error_of(read(CHAT, b"data: [DONE]\n\n"))["code"] == "no_output"


# --- pictures in text ---


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"![a](https://x.example/first.png) ![b]({PICTURE})", PICTURE),
        (f"[Download]({PICTURE}) and https://x.example/page", PICTURE),
        (f"see https://x.example/page then {PICTURE}.", PICTURE),
        ("here: https://storage.theapi.app/image/abc", "https://storage.theapi.app/image/abc"),
        ("[Play](https://x.example/film.mp4)", "https://x.example/film.mp4"),
        ("only [this](https://x.example/abc)", "https://x.example/abc"),
        (f"```json\n{{'ref': 'https://x.example/ref.png'}}\n```\n![b]({PICTURE})", PICTURE),
        (f"![b]({PICTURE})\n```\n![x](https://x.example/example.png)\n```", PICTURE),
        (f"Generation failed, trying again\n![b]({PICTURE})", PICTURE),
        (f"![b]({PICTURE})\n\nSuggestion: try another style. Reason: contrast.", PICTURE),
    ],
)
def test_the_picture_is_found_in_the_text(text: str, found: str) -> None:
    update = read(DRAWING, chunk(text))
    assert output_of(update)["url"] == found
    assert output_of(update)["text"] == text


@pytest.mark.parametrize(
    "text",
    [
        "Generation failed\nFailure reason: policy",
        "Reason: the picture breaks a rule, see https://openai.com/policies",
        f"![preview]({PICTURE})\nGeneration failed\nSuggestion: other words",
    ],
)
def test_failure_as_text_is_a_failure_with_that_text(text: str) -> None:
    error = error_of(read(DRAWING, chunk(text)))
    assert (error["code"], error["provider_message"]) == ("provider_failed", text)


def test_a_picture_that_the_user_gave_is_no_result() -> None:
    asked = {"messages": [{"content": [{"type": "image_url", "image_url": {"url": PICTURE}}], "role": "user"}]}
    assert error_of(read({**DRAWING, "input": asked}, chunk(f"You sent ![x]({PICTURE})")))["code"] == "no_output"


def test_a_picture_written_into_the_text_is_saved() -> None:
    inline = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 200_000).decode()
    update = read(DRAWING, chunk(f"![x]({inline})"))
    assert (output_of(update)["url"], output_of(update)["text"]) == (
        "https://media.test/1.png",
        "![x](https://media.test/1.png)",
    )
    assert len(update.files) == 1


@pytest.mark.parametrize(("text", "percent"), [("12%", 12), ("5 % 60.5%", 60), ("300%", None), ("", None)])
def test_a_percentage_is_read_from_the_text(text: str, percent: int | None) -> None:
    assert texts.percent(text) == percent


# --- inline pictures ---


def event(kind: str, data: bytes, **more: Any) -> bytes:
    body = {"type": kind, "b64_json": base64.b64encode(data).decode(), **more}
    return f"event: {kind}\ndata: ".encode() + orjson.dumps(body) + b"\n\n"


def test_a_line_of_many_megabytes_cut_in_small_parts_is_one_picture() -> None:
    data = b"\x89PNG\r\n\x1a\n" + b"p" * (8 << 20)
    body = event("image_generation.completed", data, usage={"total_tokens": 9})
    update = read(IMAGES, *(body[at : at + 65_536] for at in range(0, len(body), 65_536)))
    assert ([file.data for file in update.files], update.usage) == ([data], {"total_tokens": 9})
    assert len(orjson.dumps(output_of(update))) < 1000


def test_previews_are_counted_and_not_kept() -> None:
    reader = reader_of(make_task("piapi", **IMAGES))
    update = reader.feed(event("image_generation.partial_image", b"\x89PNG\r\n\x1a\n..."))
    assert update is not None
    assert update.progress is not None
    assert update.progress.previews == 1
    update = reader.finish(True)
    assert (error_of(update)["code"], update.files) == ("no_output", ())


def test_a_picture_that_came_whole_is_kept_when_the_line_breaks_after_it() -> None:
    update = read(IMAGES, event("image_generation.completed", b"\x89PNG\r\n\x1a\n..."), complete=False)
    assert update.status is Status.COMPLETED


def test_bytes_that_are_no_picture_are_no_output() -> None:
    error = error_of(read(IMAGES, event("image_generation.completed", b"<html>")))
    assert error["code"] == "no_output"
    assert "PNG" in error["message"]


def test_an_error_event_is_a_failure() -> None:
    body = b'event: error\ndata: {"type":"error","error":{"message":"moderation_blocked","code":"x"}}\n\n'
    assert error_of(read(IMAGES, body))["provider_message"] == "moderation_blocked"


def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_LINE", 1000)
    payloads = sse.Payloads()
    for _ in range(3):
        payloads.feed(b"data: " + b"x" * 600)
    assert payloads.too_large
    assert payloads.rest() == []
    assert error_of(read(IMAGES, b"data: " + b"x" * 600, b"x" * 600))["code"] == "no_output"


# --- answers that are no stream ---


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "bad"}}, Rejected),
        (401, {}, Rejected),
        (429, {}, Busy),
        (500, {"error": {"message": "the model is down"}}, Rejected),
        (500, {}, Unclear),
        (524, "<html>timeout</html>", Unclear),
        (200, {"choices": [{"message": {"content": "Hi"}}]}, Accepted),
    ],
)
def test_a_response_that_is_not_a_stream_is_read(status: int, body: Any, kind: type) -> None:
    response = piapi().submit(make_task("piapi", **CHAT), CALLBACK).read(provider_response(body, status))
    assert isinstance(response, kind)


def test_several_rounds_get_a_warning_with_the_model_that_has_none() -> None:
    rounds = {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}
    [warning] = piapi().prepare("chat-completions", "gpt-4o-image", rounds, {}).warnings
    assert "rounds" in warning
