"""Requests: what the documents print is accepted and sent as printed; what they forbid is refused at its place."""

from copy import deepcopy
from typing import Any

import orjson
import pytest

from service.core.errors import Fault, ValidationFailed
from service.providers import known
from service.providers.catalog import catalog
from service.wire import schema_faults, schemas, validation
from tests.samples import CALLBACK, KEY, PLACES, TASK_ID, each, load, make_task, modelslab, piapi, provider


@pytest.mark.parametrize(("name", "sample"), each("*/requests"))
def test_a_printed_request_is_accepted_and_sent_as_printed(name: str, sample: dict[str, Any]) -> None:
    asked, sent = sample["request"], sample["sent"]
    room = provider(name)
    config = asked.get("config", {})
    warnings = room.prepare(asked["task_type"], asked["model"], asked["input"], config).warnings
    assert all("callback_url" in warning for warning in warnings), "the documents' examples hold hooks of their own"
    task = make_task(name, model=asked["model"], task_type=asked["task_type"], input=asked["input"], config=config)
    request = room.submit(task, CALLBACK).request
    assert (request.method, request.url, dict(request.headers)) == (sent["method"], sent["url"], sent["headers"])
    assert orjson.loads(request.body or b"") == sent["body"]


@pytest.mark.parametrize("folder", ["piapi", "modelslab"])
def test_every_input_schema_has_a_printed_request(folder: str) -> None:
    asked = [param.values[1]["request"] for param in each(f"{folder}/requests")]
    used = {known.schema_of(folder, known_model(one), one["task_type"]) for one in asked}
    shared = {f"{folder}/common", "piapi/flux/common", "piapi/config"}
    assert {name for name in schemas.names() if name.startswith(folder)} - shared == used


def known_model(asked: dict[str, Any]) -> str:
    model: str = asked["model"]
    return model if model in known.models(asked["provider"]) else "v6"


@pytest.mark.parametrize("folder", ["piapi", "modelslab"])
def test_every_callback_sample_is_valid_by_its_schema(folder: str) -> None:
    samples = [param.values[1] for param in each(f"{folder}/callbacks")]
    assert samples
    assert [validation.faults(f"callbacks/{folder}", sample["body"]) for sample in samples] == [[]] * len(samples)


def test_every_schema_of_the_catalogue_exists() -> None:
    shown = [t["input_schema"] for p in catalog()["providers"] for m in p["models"] for t in m["task_types"]]
    assert {path.removeprefix("/schemas/").removesuffix(".json") for path in shown} <= set(schemas.names())


FLUX = "piapi/requests/"
LORA, CANNY, OUT = "002-lora-only", "002-controlnet-canny", "002-outpaint"
TXT, IMG, KONTEXT = "made-txt2img-schnell", "000-image-to-image", "003-kontext"
CHAT, IMAGES = "002-gpt-4o-image-text-to-image", "openai-gpt-image-1-streaming"
# sample, place, wrong value, words of the sentence (the limit)
BROKEN: list[tuple[str, str, Any, str]] = [
    (TXT, "/input/prompt", None, "required"),
    (TXT, "/input/prompt", 5, "a string"),
    (TXT, "/input/denoise", 0, "above 0 and at most 1"),
    (TXT, "/input/denoise", 1.01, "above 0 and at most 1"),
    (TXT, "/input/guidance_scale", 1.4, "1.5 to 5"),
    (TXT, "/input/guidance_scale", 5.1, "1.5 to 5"),
    (TXT, "/input/guidance_scale", "3", "1.5 to 5"),
    (TXT, "/input/batch_size", 0, "1 to 4"),
    (TXT, "/input/batch_size", 5, "1 to 4"),
    (TXT, "/input/width", 2049, "1048576"),
    (TXT, "/input/height", 513, "1048576"),
    (TXT, "/input/width", "1024", "whole number"),
    (TXT, "/input/lora_settings", [{"lora_type": "anime"}], "Qubico/flux1-dev-advanced"),
    (TXT, "/input/control_net_settings", [{"control_type": "depth"}], "Qubico/flux1-dev-advanced"),
    (TXT, "/config/service_mode", "secret", "public"),
    (TXT, "/config/webhook_config", "x", "an object"),
    ("001-text-to-image", "/input/batch_size", 2, "schnell"),
    ("made-img2img-dev", "/input/batch_size", 2, "schnell"),
    (IMG, "/input/image", None, "required"),
    (IMG, "/input/width", 512, "txt2img"),
    (IMG, "/input/height", 512, "txt2img"),
    (LORA, "/input/lora_settings", [{"lora_type": "anime"}] * 2, "exactly one"),
    (LORA, "/input/lora_settings", [], "exactly one"),
    (LORA, "/input/lora_settings", None, "required"),
    (LORA, "/input/lora_settings/0/lora_type", None, "required"),
    (LORA, "/input/lora_settings/0/lora_strength", "1", "a number"),
    (LORA, "/input/control_net_settings", [{"control_type": "depth"}], "controlnet-lora"),
    ("made-img2img-lora", "/input/image", None, "required"),
    (CANNY, "/input/control_net_settings", [{}, {}], "exactly one"),
    (CANNY, "/input/control_net_settings", None, "required"),
    (CANNY, "/input/control_net_settings/0/control_image", None, "required"),
    (CANNY, "/input/control_net_settings/0/control_type", None, "required"),
    (CANNY, "/input/lora_settings", [{"lora_type": "anime"}] * 2, "at most one"),
    ("002-inpaint", "/input/image", None, "required"),
    ("002-variation", "/input/image", None, "required"),
    (OUT, "/input/image", None, "required"),
    (OUT, "/input/custom_settings", None, "required"),
    (OUT, "/input/custom_settings/0/outpaint_left", -1, "at least 0"),
    (KONTEXT, "/input/steps", 41, "1 to 40"),
    (KONTEXT, "/input/image", None, "required"),
    (KONTEXT, "/input/width", 1025, "1048576"),
    (KONTEXT, "/input/seed", 1.5, "whole number"),
    (KONTEXT, "/input/batch_size", 2, "schnell"),
    (KONTEXT, "/model", "Qubico/flux1-dev", "Qubico/flux1-dev-advanced"),
    (OUT, "/model", "Qubico/flux1-schnell", "Qubico/flux1-dev-advanced"),
    (LORA, "/model", "Qubico/flux1-schnell", "Qubico/flux1-dev-advanced"),
    (CHAT, "/task_type", "txt2img", "chat-completions"),
    (IMAGES, "/task_type", "chat-completions", "image-generations"),
    (CHAT, "/input/messages", [], "at least 1"),
    (CHAT, "/input/messages/0/role", None, "required"),
    (CHAT, "/input/messages/0/content/0/text", None, "required"),
    (CHAT, "/input/temperature", 2.5, "0 to 2"),
    (CHAT, "/input/presence_penalty", -3, "-2 to 2"),
    (CHAT, "/input/stop", ["a", "b", "c", "d", "e"], "at most 4"),
    (IMAGES, "/input/partial_images", 4, "0 to 3"),
    (IMAGES, "/input/prompt", None, "required"),
]


@pytest.mark.parametrize(("sample", "place", "wrong", "words"), BROKEN)
def test_a_broken_limit_of_piapi_is_named_at_its_place(sample: str, place: str, wrong: Any, words: str) -> None:
    faults = faults_after("piapi", sample, place, wrong)
    assert place in {fault.pointer for fault in faults}
    assert any(words in fault.detail for fault in faults if fault.pointer == place)


EDIT, MAKE, V6 = "004-flux-img2img", "docs-v2-flux-text2img", "docs-v2-v6-text2img"
BROKEN_AT_MODELSLAB: list[tuple[str, str, Any, str]] = [
    (EDIT, "/input/prompt", None, "required"),
    (EDIT, "/input/prompt", "", "at least 1"),
    (EDIT, "/input/init_image", None, "required"),
    (EDIT, "/input/width", "1032", "256 to 1024"),
    (EDIT, "/input/width", 248, "256 to 1024"),
    (EDIT, "/input/height", "513", "divisible by 8"),
    (EDIT, "/input/height", 513, "divisible by 8"),
    (EDIT, "/input/height", "tall", "whole number"),
    (EDIT, "/input/samples", "5", "1 to 4"),
    (EDIT, "/input/samples", 0, "1 to 4"),
    (EDIT, "/input/strength", 1.1, "0 to 1"),
    (EDIT, "/input/strength", "1.1", "0 to 1"),
    (EDIT, "/input/safety_checker", "maybe", "yes"),
    (EDIT, "/input/base64", 1.5, "true, false"),
    (EDIT, "/input/seed", [], "a whole number"),
    (EDIT, "/task_type", "inpaint", "img2img"),
    (MAKE, "/input/prompt", None, "required"),
    (V6, "/input/model_id", None, "required"),
    ("docs-v2-v6-img2img", "/input/model_id", "another", "the same as `model`"),
]


@pytest.mark.parametrize(("sample", "place", "wrong", "words"), BROKEN_AT_MODELSLAB)
def test_a_broken_limit_of_modelslab_is_named_at_its_place(sample: str, place: str, wrong: Any, words: str) -> None:
    faults = faults_after("modelslab", sample, place, wrong)
    assert place in {fault.pointer for fault in faults}
    assert any(words in fault.detail for fault in faults if fault.pointer == place)


def faults_after(room: str, sample: str, place: str, wrong: Any) -> tuple[Fault, ...]:
    """The faults of a printed request after one change; None takes the field away."""
    asked = {param.id: param.values[1] for param in each(f"{room}/requests")}[f"{room}-{sample}"]["request"]
    asked = deepcopy(asked)
    *way, last = place.split("/")[1:]
    node = asked
    for part in way:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    if wrong is None:
        node.pop(last, None)
    else:
        node[last] = wrong
    with pytest.raises(ValidationFailed) as raised:
        provider(room).prepare(asked["task_type"], asked["model"], asked["input"], asked.get("config", {}))
    return raised.value.faults


@pytest.mark.parametrize(("sides", "accepted"), [((1023, 1024, 0, 0), True), ((1024, 1024, 0, 0), False)])
def test_outpaint_grows_by_less_than_a_million_pixels_in_all(sides: tuple[int, ...], accepted: bool) -> None:
    names = ("outpaint_left", "outpaint_right", "outpaint_top", "outpaint_bottom")
    settings = [{"setting_type": "outpaint", **dict(zip(names, sides, strict=True))}]
    asked = {"prompt": "p", "image": "https://x.example/i.png", "custom_settings": settings}
    if accepted:
        assert piapi().prepare("fill-outpaint", "Qubico/flux1-dev-advanced", asked, {}).warnings == ()
    else:
        with pytest.raises(ValidationFailed) as raised:
            piapi().prepare("fill-outpaint", "Qubico/flux1-dev-advanced", asked, {})
        assert "1048576" in raised.value.faults[0].detail


LORA_MODEL = "Qubico/flux1-dev-advanced"


@pytest.mark.parametrize(
    ("task_type", "model", "input", "nearest"),
    [
        (
            "txt2img-lora",
            "Qubico/flux1-dev-advanced",
            {"prompt": "p", "lora_settings": [{"lora_type": "MJv7"}]},
            "mjv6",
        ),
        ("video_generation", "klinng", {}, "kling"),
        ("video_generatio", "kling", {}, "video_generation"),
        ("txt2img", "Qubico/flux1-pro", {}, "Qubico/flux1-dev"),
        ("chat-completions", "gpt-4o-pro", {"messages": ["hello"]}, "gpt-4o"),
    ],
)
def test_an_unknown_name_passes_with_the_nearest_known(
    task_type: str, model: str, input: dict[str, Any], nearest: str
) -> None:
    assert [f'"{nearest}"' in warning for warning in piapi().prepare(task_type, model, input, {}).warnings] == [True]


def test_an_unknown_controlnet_passes_with_the_nearest_known() -> None:
    asked = {"prompt": "p", "control_net_settings": [{"control_type": "cany", "control_image": "https://x.example/i"}]}
    [warning] = piapi().prepare("controlnet-lora", LORA_MODEL, asked, {}).warnings
    assert '"canny"' in warning


def test_other_fields_pass_unchanged() -> None:
    asked = {"prompt": "p", "a_new_field": {"deep": [1, None]}}
    task = make_task("piapi", input=asked, config={"other": True})
    assert piapi().prepare("txt2img", task.model, asked, task.config).warnings == ()
    sent = orjson.loads(piapi().submit(task, CALLBACK).request.body or b"")
    assert sent["input"] == asked
    assert sent["config"]["other"] is True


def test_own_fields_of_modelslab_are_replaced_and_never_shown() -> None:
    asked = {"prompt": "p", "key": "mine", "webhook": "https://mine.example", "track_id": 20}
    room = modelslab()
    prepared = room.prepare("text2img", "flux", asked, {})
    sent = orjson.loads(room.submit(make_task("modelslab", model="flux", input=asked), CALLBACK).request.body or b"")
    assert (sent["key"], sent["webhook"], sent["track_id"]) == (KEY, CALLBACK.url, TASK_ID)
    assert prepared.input == {"prompt": "p", "key": "", "webhook": "", "track_id": ""}


def test_no_request_carries_anything_of_the_other_provider() -> None:
    assert KEY not in str(make_task("piapi").input)
    for param in each("*/requests"):
        name, sample = param.values
        headers = {key.lower() for key in sample["sent"]["headers"]}
        assert ("x-api-key" in headers or "authorization" in headers) == (name == "piapi")
        assert ("key" in sample["sent"]["body"]) == (name == "modelslab")


def test_samples_hold_no_placeholder_after_loading() -> None:
    path = next(iter(sorted((schemas.FOLDER.parent / "tests/samples/piapi/requests").glob("*.json"))))
    assert not any(place in str(load(path)) for place in PLACES)


# --- the sentences ---


def test_a_pointer_is_escaped_and_a_long_name_is_cut() -> None:
    assert schema_faults.pointer("a/b", "c~d", 0) == "/a~1b/c~0d/0"
    assert len(schema_faults.pointer("x" * 1000)) < 80


def test_no_sentence_repeats_what_was_sent() -> None:
    secret = "A" * 5000
    asked = {"prompt": {secret: 1}, "width": secret, "denoise": secret, "guidance_scale": [secret]}
    with pytest.raises(ValidationFailed) as raised:
        piapi().prepare("txt2img", "Qubico/flux1-dev", asked, {"service_mode": secret})
    assert len(raised.value.faults) == 5
    assert not any("AAA" in fault.detail or len(fault.detail) > 200 for fault in raised.value.faults)


def test_faults_are_bounded_in_number() -> None:
    faults = validation.faults("piapi/chat-completions", {"messages": [1] * 1000})
    assert len(faults) == schema_faults.MAX_FAULTS


def test_an_input_nested_beyond_reason_is_a_fault_and_no_crash() -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    [fault] = validation.faults("piapi/task", {"prompt": deep}, at="/input")
    assert fault.pointer == "/input"
    assert "nested too deeply" in fault.detail
