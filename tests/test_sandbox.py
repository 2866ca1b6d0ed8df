"""The sandbox over real sockets, with a small receiver for their callbacks."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.tools.harness.ports import free_port
from service.tools.harness.processes import answers, running
from service.tools.harness.serving import serving
from service.tools.sandbox.app import create_sandbox
from service.tools.sandbox.behaviour import UnknownBehaviour, parse

# One server for all of these tests: starting and stopping one takes longer than most of them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG = b"\x89PNG\r\n\x1a\n"
KEY = {"X-API-Key": "k"}
BEARER = {"Authorization": "Bearer k"}
FAST = "delay=0.02"


class Receiver:
    """Keeps what it is told at `url`; answers the first calls with the codes in `refuse`."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self.begin()

    def begin(self) -> None:
        # a new address for each test, so that a late call of the one before is not taken for its own
        self.url = f"{self._base_url}/{uuid.uuid4().hex}"
        self.refuse: list[int] = []
        self.calls: asyncio.Queue[tuple[dict[str, str], Any]] = asyncio.Queue()

    async def hear(self, request: Request) -> Response:
        raw = await request.body()
        body = json.loads(raw) if raw.startswith(b"{") else raw
        if str(request.url) == self.url:
            await self.calls.put((dict(request.headers), body))
        return Response(status_code=self.refuse.pop(0) if self.refuse else 200)

    async def next(self) -> Any:
        return (await asyncio.wait_for(self.calls.get(), 5))[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver("")

    async def hear(request: Request) -> Response:
        return await receiver.hear(request)

    async with serving(Starlette(routes=[Route("/{test}", hear, methods=["POST"])])) as url:
        receiver = Receiver(url)
        yield receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only_sandbox(only_receiver: Receiver) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(create_sandbox(callback_retry=0.02)) as url,
        httpx.AsyncClient(base_url=url, timeout=5, trust_env=False) as client,
    ):
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(only_sandbox: httpx.AsyncClient) -> httpx.AsyncClient:
    await only_sandbox.post("/sandbox/reset")
    return only_sandbox


@pytest.fixture
def receiver(only_receiver: Receiver) -> Receiver:
    only_receiver.begin()
    return only_receiver


def flux(words: str, endpoint: str = "", secret: str = "s3cret", **input: Any) -> dict[str, Any]:
    webhook = {"endpoint": endpoint, "secret": secret}
    return {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "config": {"webhook_config": webhook},
            "input": {"prompt": f"a cat [sandbox: {words}]", **input}}  # fmt: skip


def image(words: str, webhook: str | None = None, **more: Any) -> dict[str, Any]:
    return {"key": "k", "prompt": f"a cat [sandbox: {words}]", "init_image": "https://example.com/a.png",
            "webhook": webhook, "track_id": "tsk_1", **more}  # fmt: skip


def chat(words: str, model: str = "gpt-4o-image", stream: bool = True) -> dict[str, Any]:
    content = [{"type": "text", "text": f"draw a city [sandbox: {words}]"}]
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": content}]}


async def create(sandbox: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    response = await sandbox.post("/api/v1/task", json=body, headers=KEY)
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


async def draw(sandbox: httpx.AsyncClient, body: dict[str, Any], path: str = "/api/v1/enterprise/flux/img2img") -> Any:
    return (await sandbox.post(path, json=body)).json()


async def say(sandbox: httpx.AsyncClient, body: dict[str, Any]) -> str:
    response = await sandbox.post("/v1/chat/completions", json=body, headers=BEARER)
    lines = [line for line in response.text.splitlines() if line.startswith("data: {")]
    return "".join(json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in lines)


async def books(sandbox: httpx.AsyncClient) -> Any:
    return (await sandbox.get("/sandbox/ledger")).json()


async def processed(receiver: Receiver) -> Any:
    """The finishing call, after the one at processing."""
    assert (await receiver.next())["data"]["status"] == "processing"
    return await receiver.next()


# --- PiAPI's unified API


async def test_a_flux_task_is_pending_then_calls_back_and_has_a_picture(
    sandbox: httpx.AsyncClient, receiver: Receiver
) -> None:
    response = await create(sandbox, flux(FAST, receiver.url))
    assert response["status"] == "pending"
    assert response["meta"]["started_at"] == "0001-01-01T00:00:00Z"
    assert response["config"]["webhook_config"] == {"endpoint": receiver.url, "secret": "s3cret"}
    assert list(response["input"]) == ["height", "negative_prompt", "prompt", "steps", "width"]
    told = await processed(receiver)
    assert set(told) == {"timestamp", "data"}
    assert told["data"]["meta"]["usage"] == {"type": "point", "frozen": 0, "consume": 20000}
    assert len(told["data"]["meta"]["ended_at"]) == len("2025-06-30T07:11:30.719851187Z")
    assert (await sandbox.get(told["data"]["output"]["image_url"])).content.startswith(PNG)
    read = (await sandbox.get(f"/api/v1/task/{response['task_id']}", headers=KEY)).json()
    assert read["code"] == 200
    assert read["data"] == told["data"]


async def test_the_secret_is_sent_in_the_header(sandbox: httpx.AsyncClient, receiver: Receiver) -> None:
    await create(sandbox, flux("instant=1", receiver.url))
    headers, _ = await asyncio.wait_for(receiver.calls.get(), 5)
    assert headers["x-webhook-secret"] == "s3cret"


@pytest.mark.parametrize(("way", "secret"), [("bad_secret", "not-the-secret-of-this-task"), ("no_secret", None)])
async def test_the_secret_may_be_wrong_or_missing(
    sandbox: httpx.AsyncClient, receiver: Receiver, way: str, secret: str | None
) -> None:
    await create(sandbox, flux(f"instant=1 callback={way}", receiver.url))
    headers, _ = await asyncio.wait_for(receiver.calls.get(), 5)
    assert headers.get("x-webhook-secret") == secret


async def test_a_refused_call_is_repeated_until_three_have_been_made(
    sandbox: httpx.AsyncClient, receiver: Receiver
) -> None:
    receiver.refuse = [503, 503, 503]
    await create(sandbox, flux("instant=1", receiver.url))
    bodies = [await receiver.next() for _ in range(3)]
    assert bodies[0] == bodies[1] == bodies[2]
    await create(sandbox, flux("instant=1 callback=twice callback_retry=0", receiver.url))
    first, again = await receiver.next(), await receiver.next()
    assert first == again != bodies[0]
    assert [told["code"] for told in (await books(sandbox))["tasks"][0]["callbacks"]] == [503, 503, 503]


async def test_several_pictures_come_as_a_list(sandbox: httpx.AsyncClient) -> None:
    output = (await create(sandbox, flux("instant=1", batch_size=3)))["output"]
    assert output["image_url"] == ""
    assert len(set(output["image_urls"])) == 3


@pytest.mark.parametrize(
    ("model", "task_type", "path"),
    [
        ("kling", "video_generation", ("works", 0, "video", "resource_without_watermark")),
        ("kling", "ai_try_on", ("works", 0, "image", "resource_without_watermark")),
        ("Qubico/tts", "zero-shot", ("audio_url",)),
        ("Qubico/trellis", "image-to-3d", ("model_file",)),
        ("luma", "video_generation", ("video", "url")),
        ("veo3", "veo3-video", ("video",)),
        ("something-new", "paint", ("image_url",)),
    ],
)
async def test_every_model_has_its_own_output(
    sandbox: httpx.AsyncClient, model: str, task_type: str, path: tuple[Any, ...]
) -> None:
    body = {"model": model, "task_type": task_type, "input": {"text": "hi [sandbox: instant=1]"}}
    value: Any = (await create(sandbox, body))["output"]
    for step in path:
        value = value[step]
    assert (await sandbox.get(value)).status_code == 200


@pytest.mark.parametrize(
    ("words", "status"),
    [("spelling=capital", "Completed"), ("spelling=legacy", "success"), ('status=""', ""), ("status=retry", "retry")],
)
async def test_the_finish_is_spelled_as_requested(sandbox: httpx.AsyncClient, words: str, status: str) -> None:
    assert (await create(sandbox, flux(f"instant=1 {words}")))["status"] == status


async def test_the_legacy_spelling_of_processing_ends_in_a_tab(sandbox: httpx.AsyncClient, receiver: Receiver) -> None:
    await create(sandbox, flux(f"{FAST} spelling=legacy", receiver.url))
    assert (await receiver.next())["data"]["status"] == "processing\t"


async def test_a_failed_task_has_its_reason_in_raw_message(sandbox: httpx.AsyncClient) -> None:
    data = await create(sandbox, flux('instant=1 fail="no GPU today"'))
    assert data["status"] == "failed"
    assert data["error"] == {"code": 10000, "raw_message": "no GPU today", "message": "task failed", "detail": None}
    assert data["meta"]["usage"]["consume"] == 0


async def test_a_finished_task_may_have_nothing_in_its_output(sandbox: httpx.AsyncClient) -> None:
    data = await create(sandbox, flux("instant=1 no_output=1"))
    assert (data["status"], data["output"]) == ("completed", {"image_url": "", "image_base64": ""})


async def test_a_picture_may_come_as_base64_of_any_size(sandbox: httpx.AsyncClient) -> None:
    output = (await create(sandbox, flux("instant=1 output=base64 size=100")))["output"]
    picture = base64.b64decode(output["image_base64"])
    assert picture.startswith(PNG)
    assert len(picture) > 100 * 1024


async def test_an_early_callback_is_sent_before_the_submits_response(
    sandbox: httpx.AsyncClient, receiver: Receiver
) -> None:
    response = await create(sandbox, flux("callback=early", receiver.url))
    assert response["status"] == "pending"
    assert receiver.calls.get_nowait()[1]["data"]["status"] == "completed"


async def test_a_processing_call_may_come_after_the_finish(sandbox: httpx.AsyncClient, receiver: Receiver) -> None:
    await create(sandbox, flux(f"{FAST} callback=late_processing", receiver.url))
    assert [(await receiver.next())["data"]["status"] for _ in range(2)] == ["completed", "processing"]


async def test_a_call_at_creation_and_a_contradiction_can_be_had(
    sandbox: httpx.AsyncClient, receiver: Receiver
) -> None:
    await create(sandbox, flux(f"{FAST} callback=created,conflict", receiver.url))
    told = [(await receiver.next())["data"]["status"] for _ in range(4)]
    assert told == ["pending", "processing", "completed", "failed"]


@pytest.mark.parametrize(("way", "keys"), [("flat", {"task_id", "meta"}), ("code_shape", {"code", "data", "message"})])
async def test_the_body_may_have_another_shape(
    sandbox: httpx.AsyncClient, receiver: Receiver, way: str, keys: set[str]
) -> None:
    await create(sandbox, flux(f"instant=1 callback={way}", receiver.url))
    assert keys <= set(await receiver.next())


async def test_the_body_may_name_another_task_or_be_no_json(sandbox: httpx.AsyncClient, receiver: Receiver) -> None:
    task = await create(sandbox, flux("instant=1 callback=wrong_id,slow", receiver.url))
    assert (await receiver.next())["data"]["task_id"] != task["task_id"]
    await create(sandbox, flux("instant=1 callback=garbage", receiver.url))
    assert isinstance(await receiver.next(), bytes)


@pytest.mark.parametrize("words", ["callback=none", "drop_webhook=1"])
async def test_callback_none_sends_no_callback(sandbox: httpx.AsyncClient, receiver: Receiver, words: str) -> None:
    silent = await create(sandbox, flux(f"instant=1 {words}", receiver.url))
    await create(sandbox, flux("instant=1", receiver.url))
    assert (await receiver.next())["data"]["task_id"] != silent["task_id"]
    assert bool(silent["config"]["webhook_config"]["endpoint"]) == (words == "callback=none")


@pytest.mark.parametrize("status", [400, 401, 402, 429, 500, 502])
async def test_a_submit_can_be_refused_and_is_not_paid_for(sandbox: httpx.AsyncClient, status: int) -> None:
    body = flux(f"submit={status} retry_after=7")
    response = await sandbox.post("/api/v1/task", json=body, headers=KEY)
    assert (response.status_code, response.json()["code"]) == (status, status)
    assert response.headers["retry-after"] == "7"
    assert (await books(sandbox))["submits"] == 0


@pytest.mark.parametrize(("fault", "paid"), [("reset", 0), ("accepted_reset", 1)])
async def test_the_connection_can_be_reset_instead_of_a_response(
    sandbox: httpx.AsyncClient, receiver: Receiver, fault: str, paid: int
) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await sandbox.post("/api/v1/task", json=flux(f"{FAST} submit={fault}", receiver.url), headers=KEY)
    assert (await books(sandbox))["submits"] == paid
    if paid:
        assert (await processed(receiver))["data"]["status"] == "completed"


@pytest.mark.parametrize(("fault", "paid"), [("timeout", 0), ("accepted_timeout", 1)])
async def test_the_response_can_be_withheld(sandbox: httpx.AsyncClient, fault: str, paid: int) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await sandbox.post("/api/v1/task", json=flux(f"submit={fault}"), headers=KEY, timeout=0.05)
    assert (await books(sandbox))["submits"] == paid


async def test_an_accepted_500_runs_and_calls_back_and_is_in_the_history(
    sandbox: httpx.AsyncClient, receiver: Receiver
) -> None:
    response = await sandbox.post("/api/v1/task", json=flux(f"{FAST} submit=accepted_500", receiver.url), headers=KEY)
    assert response.status_code == 500
    told = await processed(receiver)
    history = (await sandbox.get("/api/open/tasks/histories?model=flux", headers=KEY)).json()["data"]
    assert history["total"] == 1
    assert history["data"][0]["task_id"] == told["data"]["task_id"]
    assert history["data"][0]["config"]["webhook_config"]["endpoint"] == receiver.url


async def test_faults_end_after_so_many_times(sandbox: httpx.AsyncClient) -> None:
    body = flux("submit=500 times=2")
    codes = [(await sandbox.post("/api/v1/task", json=body, headers=KEY)).status_code for _ in range(3)]
    assert codes == [500, 500, 200]


async def test_a_response_may_be_something_other_than_json(sandbox: httpx.AsyncClient) -> None:
    response = await sandbox.post("/api/v1/task", json=flux("submit=garbage"), headers=KEY)
    assert response.status_code == 200
    assert response.text.startswith("<html>")


async def test_reading_can_misbehave_too(sandbox: httpx.AsyncClient) -> None:
    task = await create(sandbox, flux("instant=1 fetch=404 times=1"))
    path = f"/api/v1/task/{task['task_id']}"
    assert [(await sandbox.get(path, headers=KEY)).status_code for _ in range(2)] == [404, 200]


async def test_only_a_pending_task_can_be_canceled(sandbox: httpx.AsyncClient) -> None:
    waiting = await create(sandbox, flux("delay=0 queue=never"))
    finished = await create(sandbox, flux("instant=1"))
    response = await sandbox.delete(f"/api/v1/task/{waiting['task_id']}", headers=KEY)
    assert response.json() == {"code": 200, "message": f"task {waiting['task_id']} canceled"}
    assert (await sandbox.delete(f"/api/v1/task/{finished['task_id']}", headers=KEY)).status_code == 400
    read = (await sandbox.get(f"/api/v1/task/{waiting['task_id']}", headers=KEY)).json()
    assert read["data"]["status"] == "cancelled"


async def test_a_held_task_goes_on_when_released(sandbox: httpx.AsyncClient, receiver: Receiver) -> None:
    await create(sandbox, flux("delay=0 hold=gate", receiver.url))
    assert (await receiver.next())["data"]["status"] == "processing"
    assert (await books(sandbox))["in_flight"] == {"piapi": 1}
    await sandbox.post("/sandbox/release/gate")
    assert (await receiver.next())["data"]["status"] == "completed"


@pytest.mark.parametrize("key", [{}, {"X-API-Key": ""}, {"X-API-Key": "invalid"}])
async def test_a_key_is_needed(sandbox: httpx.AsyncClient, key: dict[str, str]) -> None:
    response = await sandbox.post("/api/v1/task", json=flux(""), headers=key)
    assert (response.status_code, list(response.json())) == (401, ["error"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": "1024"}, "cannot unmarshal string"),
        ({"width": 2048, "height": 2048}, "width*height"),
        ({"prompt": ""}, "prompt is required"),
        ({"batch_size": 9}, "batch_size"),
    ],
)
async def test_a_wrong_input_is_refused(sandbox: httpx.AsyncClient, change: dict[str, Any], message: str) -> None:
    body = flux("")
    body["input"] |= change
    response = await sandbox.post("/api/v1/task", json=body, headers=KEY)
    assert response.status_code == 400
    assert message in response.json()["message"]


async def test_the_account_can_be_read(sandbox: httpx.AsyncClient) -> None:
    data = (await sandbox.get("/account/info", headers=KEY)).json()["data"]
    assert data["credit_pack_info"]["available_credits"] > 0


# --- ModelsLab


async def test_a_modelslab_job_is_processing_then_calls_back_flat(
    sandbox: httpx.AsyncClient, receiver: Receiver
) -> None:
    response = await draw(sandbox, image("delay=0 hold=gate", receiver.url))
    assert (response["status"], response["output"]) == ("processing", "")
    assert isinstance(response["id"], int)
    assert "messege" in response
    assert (await sandbox.get(response["future_links"][0])).status_code == 404
    assert (await sandbox.post(response["fetch_result"], json={"key": "k"})).json()["status"] == "processing"
    await sandbox.post("/sandbox/release/gate")
    told = await receiver.next()
    assert (told["status"], told["id"], told["track_id"]) == ("success", response["id"], "tsk_1")
    assert told["output"] == response["future_links"]
    assert (await sandbox.get(told["output"][0])).content.startswith(PNG)
    assert (await sandbox.post(response["fetch_result"], json={"key": "k"})).json()["output"] == told["output"]


async def test_modelslab_does_not_repeat_a_refused_call(sandbox: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.refuse = [503]
    refused = await draw(sandbox, image("delay=0", receiver.url))
    assert (await receiver.next())["id"] == refused["id"]
    other = await draw(sandbox, image(FAST, receiver.url))
    assert (await receiver.next())["id"] == other["id"]


@pytest.mark.parametrize(("kind", "has_id"), [("img2img", True), ("text2img", False)])
async def test_an_immediate_success_has_no_useful_id(sandbox: httpx.AsyncClient, kind: str, has_id: bool) -> None:
    response = await draw(sandbox, image("instant=1", samples="2"), f"/api/v1/enterprise/flux/{kind}")
    assert response["status"] == "success"
    assert ("id" in response, response.get("id")) == (has_id, None)
    assert len(response["output"]) == 2
    assert response["meta"]["temp"] == "no"


@pytest.mark.parametrize(("words", "id"), [("id=null", None), ("id=empty", "")])
async def test_an_id_can_be_written_in_odd_ways(sandbox: httpx.AsyncClient, words: str, id: str | None) -> None:
    assert (await draw(sandbox, image(words)))["id"] == id
    named = await draw(sandbox, image("id=str output=list"))
    assert isinstance(named["id"], str)
    assert named["output"] == []


async def test_fetch_knows_only_its_own_family(sandbox: httpx.AsyncClient) -> None:
    job = await draw(sandbox, image(""), "/api/v6/images/img2img")
    wrong = await sandbox.post(f"/api/v1/enterprise/flux/fetch/{job['id']}", json={"key": "k"})
    assert (wrong.status_code, wrong.json()["message"]) == (200, "Request not found")
    right = await sandbox.post("/api/v6/images/fetch", json={"key": "k", "request_id": job["id"]})
    assert right.json()["status"] == "processing"


async def test_a_failed_job_calls_back_with_its_message(sandbox: httpx.AsyncClient, receiver: Receiver) -> None:
    await draw(sandbox, image('delay=0 fail="out of memory" callback=twice', receiver.url))
    told, again = await receiver.next(), await receiver.next()
    assert told == again
    assert (told["status"], told["message"], told["track_id"]) == ("failed", "out of memory", "tsk_1")


async def test_the_rate_limit_comes_with_either_status(sandbox: httpx.AsyncClient) -> None:
    path = "/api/v6/images/text2img"
    hard = await sandbox.post(path, json=image("submit=429 retry_after=2"))
    soft = await sandbox.post(path, json=image("submit=busy200"))
    assert (hard.status_code, hard.json()["retry_after"]) == (429, 2)
    assert (soft.status_code, soft.json()["status"], soft.json()["retry_after"]) == (200, "error", 30)
    assert "Rate limit exceeded" in soft.json()["message"]


async def test_modelslab_wants_the_key_in_the_body(sandbox: httpx.AsyncClient) -> None:
    response = await draw(sandbox, {**image(""), "key": ""})
    assert response == {"status": "error", "message": "Invalid API key"}


async def test_base64_results_are_served_as_text(sandbox: httpx.AsyncClient) -> None:
    response = await draw(sandbox, image("instant=1", base64=True))
    assert base64.b64decode((await sandbox.get(response["output"][0])).text).startswith(PNG)


# --- LLM


async def test_gpt_4o_image_talks_and_ends_with_a_picture(sandbox: httpx.AsyncClient) -> None:
    text = await say(sandbox, chat("delay=0"))
    assert text.startswith("```json")
    url = text.rpartition("](")[2].rstrip(")")
    assert f"![image]({url})" in text
    assert (await sandbox.get(url)).content.startswith(PNG)


async def test_gpt_4o_image_wants_a_stream(sandbox: httpx.AsyncClient) -> None:
    response = await sandbox.post("/v1/chat/completions", json=chat("", stream=False), headers=BEARER)
    assert response.status_code == 400
    assert "stream" in response.json()["error"]["message"]


async def test_a_stream_can_break_off(sandbox: httpx.AsyncClient) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await say(sandbox, chat("delay=0 stream=break"))
    assert (await books(sandbox))["submits"] == 1


async def test_a_stream_can_fall_silent(sandbox: httpx.AsyncClient) -> None:
    body = chat("delay=0 stream=stall")
    with pytest.raises(httpx.ReadTimeout):
        await sandbox.post("/v1/chat/completions", json=body, headers=BEARER, timeout=0.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stream=no_image", "I could not make a picture"),
        ("stream=fail_text", "Generation failed"),
        ('fail="too rude"', "Failure reason: too rude"),
        ("stream=preview", "![preview]("),
        ("delay=0.01 stream=slow,crlf", "![image]("),
        ('text="here you are"', "here you are\n\n![image]("),
    ],
)
async def test_a_stream_contains_the_requested_text(sandbox: httpx.AsyncClient, words: str, said: str) -> None:
    assert said in await say(sandbox, chat(f"delay=0 {words}"))


@pytest.mark.parametrize(
    ("words", "ending"), [("stream=crlf", "data: [DONE]\r\n\r\n"), ("stream=none_done", "data:[none]\n\n")]
)
async def test_a_stream_ends_as_requested(sandbox: httpx.AsyncClient, words: str, ending: str) -> None:
    body = chat(f"delay=0 {words}")
    assert (await sandbox.post("/v1/chat/completions", json=body, headers=BEARER)).text.endswith(ending)
    without = await sandbox.post("/v1/chat/completions", json=chat("delay=0 stream=no_done"), headers=BEARER)
    assert '"usage"' in without.text.strip().splitlines()[-1]


async def test_other_models_respond_at_once_or_as_a_stream(sandbox: httpx.AsyncClient) -> None:
    body = chat("delay=0 text=hello", model="gpt-4o-mini", stream=False)
    response = (await sandbox.post("/v1/chat/completions", json=body, headers=BEARER)).json()
    assert response["choices"][0]["message"] == {"role": "assistant", "content": "hello"}
    assert response["usage"]["total_tokens"] > 0
    assert await say(sandbox, {**body, "stream": True}) == "hello"


async def test_an_image_stream_has_a_partial_and_then_the_picture(sandbox: httpx.AsyncClient) -> None:
    body = {"model": "gpt-image-1", "prompt": "a cat [sandbox: delay=0 size=300]", "stream": True, "partial_images": 2}
    text = (await sandbox.post("/v1/images/generations", json=body, headers=BEARER)).text
    names = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
    assert names == 2 * ["image_generation.partial_image"] + ["image_generation.completed"]
    last = json.loads(text.strip().rpartition("data: ")[2])
    assert len(base64.b64decode(last["b64_json"])) > 300 * 1024
    assert last["usage"]["total_tokens"]


async def test_an_image_can_be_had_plainly(sandbox: httpx.AsyncClient) -> None:
    body = {"model": "gpt-image-1", "prompt": "a cat [sandbox: delay=0]", "n": 2}
    linked = (await sandbox.post("/v1/images/generations", json=body, headers=BEARER)).json()
    assert (await sandbox.get(linked["data"][1]["url"])).content.startswith(PNG)
    inline = {**body, "response_format": "b64_json"}
    data = (await sandbox.post("/v1/images/generations", json=inline, headers=BEARER)).json()["data"]
    assert base64.b64decode(data[0]["b64_json"]).startswith(PNG)


@pytest.mark.parametrize("headers", [KEY, {"Authorization": "Basic k"}, {"Authorization": "Bearer invalid"}])
async def test_the_llm_wants_a_bearer_key(sandbox: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await sandbox.post("/v1/chat/completions", json=chat(""), headers=headers)).status_code == 401


# --- the books, and asking for the impossible


async def test_what_was_sent_can_be_read_again(sandbox: httpx.AsyncClient) -> None:
    await create(sandbox, flux("instant=1"))
    (sent,) = (await sandbox.get("/sandbox/requests")).json()["requests"]
    assert (sent["path"], sent["headers"]["x-api-key"]) == ("/api/v1/task", "k")
    assert sent["body"] == flux("instant=1")


async def test_a_reset_forgets_everything(sandbox: httpx.AsyncClient) -> None:
    task = await create(sandbox, flux("delay=60"))
    assert (await sandbox.post("/sandbox/reset")).status_code == 204
    assert await books(sandbox) == {"submits": 0, "in_flight": {}, "peak_in_flight": {}, "tasks": []}
    assert (await sandbox.get(f"/api/v1/task/{task['task_id']}", headers=KEY)).status_code == 404


async def test_the_header_asks_as_well_as_the_prompt(sandbox: httpx.AsyncClient) -> None:
    headers = {**KEY, "X-Sandbox": "instant=1 spelling=capital"}
    response = await sandbox.post("/api/v1/task", json=flux("delay=60"), headers=headers)
    assert response.json()["data"]["status"] == "Completed"


@pytest.mark.parametrize("words", ["sbmit=500", "submit=600", "delay=soon", "callback=twice,never", "500"])
async def test_an_unknown_key_is_refused_by_name(words: str) -> None:
    with pytest.raises(UnknownBehaviour, match="sandbox: "):
        parse(words)


async def test_picture_addresses_use_the_public_url() -> None:
    async with (
        serving(create_sandbox("https://pretend.example")) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        output = (await create(client, flux("instant=1")))["output"]
    assert output["image_url"].startswith("https://pretend.example/pictures/")


async def test_the_command_starts_beside_settings_that_are_for_the_service(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "sandbox.log"
    async with running(["sandbox", "--port", str(port)], {"WEB_CONCURRENCY": "2"}, log) as process:
        assert await answers(process, f"http://127.0.0.1:{port}/"), log.read_text()
