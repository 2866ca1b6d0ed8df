"""ModelsLab: no secret in its calls, errors with HTTP 200, ids of any type, promises that are no results."""

from typing import Any

import orjson
import pytest

from service.core.task import Status
from service.core.update import Update
from service.ports.providers import Accepted, CallbackRefused, Rejected
from tests.samples import CALLBACK, KEY, TASK_ID, asked, error_of, make_task, modelslab, output_of, provider_response

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
TASK = make_task("modelslab", model="flux", task_type="img2img", provider_task_id="7")


def submit(body: dict[str, Any], status: int = 200) -> Any:
    return modelslab().submit(TASK, CALLBACK).read(provider_response(body, status))


def call(**fields: Any) -> Update:
    return modelslab().read_callback(TASK_ID, orjson.dumps({"track_id": TASK_ID, **fields}))


@pytest.mark.parametrize(
    ("given", "known"),
    [(12345, "12345"), ("uuid-1", "uuid-1"), ("", None), (None, None), (True, None), ([], None), (1.5, None)],
)
def test_ids_come_in_any_type(given: Any, known: str | None) -> None:
    assert call(status="processing", id=given).provider_task_id == known


@pytest.mark.parametrize("output", [["https://x.example/a.png"], "https://x.example/a.png"])
def test_output_is_a_list_or_a_string(output: Any) -> None:
    update = call(status="success", output=output)
    assert output_of(update)["urls"] == ["https://x.example/a.png"]


@pytest.mark.parametrize("links", [["https://x.example/p.png"], {"0": "https://x.example/p.png"}])
def test_proxy_links_replace_an_empty_output(links: Any) -> None:
    update = call(status="success", output="", proxy_links=links)
    assert output_of(update)["url"] == "https://x.example/p.png"


def test_promises_are_not_even_in_the_raw_output() -> None:
    update = call(status="success", output=["https://x.example/a"], future_links=["https://x.example/soon.png"])
    assert "soon" not in str(output_of(update))
    assert output_of(update)["files"][0]["kind"] == "image"


def test_future_links_and_the_echoed_input_are_no_results() -> None:
    meta = {"init_image": "https://x.example/in.png"}
    update = call(status="success", output=[], future_links=["https://x.example/soon.png"], proxy_links="", meta=meta)
    assert error_of(update)["code"] == "no_output"


def test_a_response_with_an_unknown_status_and_an_id_is_accepted() -> None:
    response = submit({"status": "queued-somewhere", "id": 5})
    assert isinstance(response, Accepted)
    assert response.update.status is Status.SUBMITTED


def test_a_processing_call_is_no_failure() -> None:
    assert call(status="processing", id=1, output="").status is Status.PROCESSING


@pytest.mark.parametrize("track_id", [None, "", "other", 20, [], {"a": 1}, True, "tsk_é"])
def test_a_call_with_another_track_id_is_refused(track_id: Any) -> None:
    with pytest.raises(CallbackRefused) as refused:
        call(track_id=track_id, status="success", output=["https://x.example/a.png"])
    assert (refused.value.status, refused.value.result) == (401, "bad_track_id")


def test_a_numeric_track_id_is_compared_as_text() -> None:
    assert modelslab().read_callback("20", b'{"track_id":20,"status":"processing"}').status is Status.PROCESSING


@pytest.mark.parametrize("body", [b"[]", b"{}", b"{", b'{"event":"workflow.completed","workflow":{}}'])
def test_a_call_without_a_task_is_malformed(body: bytes) -> None:
    with pytest.raises(CallbackRefused) as refused:
        modelslab().read_callback(TASK_ID, body)
    assert (refused.value.status, refused.value.result) == (400, "malformed")


@pytest.mark.parametrize(
    ("model", "url"),
    [
        ("flux", "https://modelslab.com/api/v1/enterprise/flux/fetch/7"),
        ("v6", "https://modelslab.com/api/v6/images/fetch/7"),
        ("realistic-vision-51", "https://modelslab.com/api/v6/images/fetch/7"),
    ],
)
def test_a_task_is_fetched_at_the_address_of_its_own_family(model: str, url: str) -> None:
    request = asked(modelslab().fetch(make_task("modelslab", model=model, provider_task_id="7"))).request
    assert (request.method, request.url, request.body) == ("POST", url, orjson.dumps({"key": KEY}))


def test_the_key_is_never_sent_to_an_address_from_a_response() -> None:
    evil = {"status": "processing", "id": 7, "fetch_result": "https://evil.example/fetch/7", "eta": 1}
    response = submit(evil)
    assert isinstance(response, Accepted)
    exchange = modelslab().fetch(make_task("modelslab", provider_task_id=response.update.provider_task_id))
    assert asked(exchange).request.url.startswith("https://modelslab.com/")


@pytest.mark.parametrize(
    "body",
    [
        {"status": "failed", "id": "", "message": "Request not found"},
        {"status": "error", "message": "Invalid API key"},
        {"status": "error", "messege": "Rate limit exceeded"},
        {"status": "error", "message": "whatever, without an id"},
    ],
)
def test_a_failed_lookup_says_nothing_about_the_task(body: dict[str, Any]) -> None:
    exchange = asked(modelslab().fetch(make_task("modelslab", provider_task_id="7")))
    assert exchange.read(provider_response(body)) is None


def test_the_key_is_in_no_error_even_when_the_provider_repeats_it() -> None:
    response = submit({"status": "error", "message": f"Invalid API key {KEY}"})
    assert isinstance(response, Rejected)
    assert KEY not in str(response.error)
    assert response.error.provider_message == "Invalid API key [hidden]"


def test_an_inline_picture_is_saved_and_replaced_by_its_address() -> None:
    body = {"status": "success", "id": 1, "output": [PNG], "track_id": TASK_ID}
    update = modelslab().read_callback(TASK_ID, orjson.dumps(body))
    assert output_of(update)["urls"] == ["https://media.test/1.png"]
    assert PNG not in str(output_of(update)["raw"])


def test_config_is_not_sent_with_a_warning() -> None:
    given = {"prompt": "p", "init_image": "https://x.example/i.png"}
    [warning] = modelslab().prepare("img2img", "flux", given, {"service_mode": "public"}).warnings
    assert "config" in warning


def test_modelslab_can_neither_cancel_nor_list() -> None:
    room = modelslab()
    assert room.cancel(TASK) is None
    assert room.search(TASK, bool, 1) is None
    assert room.stream_reader(TASK) is None
