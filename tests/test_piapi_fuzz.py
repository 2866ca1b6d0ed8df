"""Whatever the bytes are: reading ends in an update or a refusal, never in a crash."""

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ports.providers import CallbackRefused, ProviderResponse
from service.providers import redact
from tests.samples import CALLBACK, TASK_ID, make_task, modelslab, piapi, reader_of

NAMES = """task_id status output error data message raw_message meta usage config webhook_config model id track_id eta
    image_url image_base64 task_result task_output task_info detail tip code choices delta content b64_json"""
WORDS = ["completed", "failed", "https://x.example/a.png", "iVBORw0KGgo", "Request not found", "error", "processing"]
FIELDS = st.sampled_from(NAMES.split())
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    LEAVES | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, JSON, max_size=8))
def test_no_body_makes_a_callback_raise_anything_but_a_refusal(fields: dict[str, Any]) -> None:
    for room, body in ((piapi(), {"data": {"task_id": "t", **fields}}), (modelslab(), {"track_id": TASK_ID, **fields})):
        try:
            update = room.read_callback(TASK_ID, orjson.dumps(body))
        except CallbackRefused:
            continue
        msgspec.json.encode(update)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_a_callback_raise_anything_but_a_refusal(body: bytes) -> None:
    for room in (piapi(), modelslab()):
        with pytest.raises(CallbackRefused):
            room.read_callback(TASK_ID, body)
    redact.audit(body)


@settings(max_examples=200, deadline=None)
@given(JSON, st.sampled_from([200, 201, 302, 400, 401, 404, 429, 500, 502]))
def test_no_response_makes_reading_raise(body: Any, status: int) -> None:
    got = ProviderResponse(status, {"retry-after": str(body)[:20]}, orjson.dumps(body))
    for room in (piapi(), modelslab()):
        for model, task_type in (("flux", "img2img"), ("gpt-4o-image", "chat-completions")):
            task = make_task(room.name, provider_task_id="t", model=model, task_type=task_type)
            room.submit(task, CALLBACK).read(got)
            for exchange in (room.fetch(task), room.cancel(task), room.search(task, bool, 1)):
                if exchange is not None:
                    exchange.read(got)


def nested(field: str, levels: int = 1000) -> bytes:
    """`field` inside `field` inside … as deep as it can be read at all."""
    return f'{{"{field}":'.encode() * levels + b"1" + b"}" * levels


@pytest.mark.parametrize("field", ["message", "data", "x", "choices"])
def test_a_deeply_nested_response_is_read(field: str) -> None:
    task = make_task("piapi", provider_task_id="t")
    got = ProviderResponse(200, {}, nested(field))
    for room in (piapi(), modelslab()):
        room.submit(task, CALLBACK).read(got)
        for exchange in (room.cancel(task), room.search(task, bool, 1)):
            if exchange is not None:
                exchange.read(got)
    inside = b'{"track_id":"%s","task_id":"t","status":"%s","error":%s,"output":%s}'
    for word in (b"failed", b"success"):
        deep = nested(field, 900)
        for room in (piapi(), modelslab()):
            update = room.read_callback(TASK_ID, inside % (TASK_ID.encode(), word, deep, deep))
            msgspec.json.encode(update)


def test_a_question_nested_beyond_reason_is_looked_through() -> None:
    question = orjson.loads(nested("content", 990))
    task = make_task("piapi", model="gpt-4o-image", task_type="chat-completions", input={"messages": [question]})
    assert reader_of(task).finish(True).error
