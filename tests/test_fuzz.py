"""Both callback doors of the running service take whatever is sent: no 5xx, and a true call still counts afterwards."""

import asyncio
import copy
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.core.points import Point
from service.core.task import Task
from service.core.transitions import claimed
from tests.conftest import Service
from tests.samples import FOLDER, TASK_ID, load
from tests.store.parts import a_task

TROUBLESOME: list[Any] = [
    None, True, 0, -1, 2**63, 2**64, 1e308, -0.0, "", " ", "\x00", "\ud7ff", "🐱" * 50, "A" * 5000, [], {}, [[]],
    [None], {"a": None}, "completed", "failed", "processing\t", "https://x.example/a.png", "data:image/png;base64,AAAA",
]  # fmt: skip
BODIES = {
    name: [load(path)["body"] for path in sorted(FOLDER.glob(f"{name}/callbacks/*.json"))]
    for name in ("piapi", "modelslab")
}


def paths_of(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, item in inner for found in paths_of(item, (*path, key)))]


@st.composite
def spoiled(draw: st.DrawFn, bodies: list[Any]) -> bytes:
    """A callback of the documents with a few of its values replaced or removed, or its bytes cut or broken."""
    body = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(paths_of(body)[1:] or [()]))
        if not path:
            continue
        parent = body
        for key in path[:-1]:
            parent = parent[key]
        if isinstance(parent, dict) and draw(st.booleans()):
            del parent[path[-1]]
        else:
            parent[path[-1]] = copy.deepcopy(draw(st.sampled_from(TROUBLESOME)))
    raw = bytearray(json.dumps(body).encode())
    for _ in range(draw(st.integers(0, 2)) if draw(st.booleans()) else 0):
        where = draw(st.integers(0, len(raw)))
        raw[where : where + draw(st.integers(0, 5))] = draw(st.binary(max_size=5))
    return bytes(raw)


async def being_sent(service: Service, provider: str) -> Task:
    """A task whose request is on its way, as far as the store knows; in one transaction, so that nobody sends it."""
    tasks = service.bridge.store.tasks
    now = service.bridge.base.timing.now()
    fresh = a_task(provider=provider, created_at=now, updated_at=now, deadline_at=now + 10**6)
    sending = claimed(fresh, service.bridge.lease.worker, now)
    await asyncio.gather(tasks.add(fresh, None), tasks.change(Point.CLAIM_TASK, fresh.id, lambda _: ((sending, None),)))
    return sending


@pytest.mark.parametrize("provider", sorted(BODIES))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_callback_body_causes_a_5xx_or_damages_the_task(
    service: Service, provider: str, data: st.DataObject
) -> None:
    task = await being_sent(service, provider)
    callback = service.bridge.submitting.submitter.callbacks.of(task)
    raw = data.draw(spoiled(BODIES[provider])).replace(TASK_ID.encode(), task.id.encode())
    response = await service.anybody.post(callback.url, headers={"x-webhook-secret": callback.secret}, content=raw)
    assert response.status_code in (200, 400, 401, 409), (response.status_code, response.text)
    shown = await service.client.get(f"/v1/tasks/{task.id}")
    assert shown.status_code == 200
    listed = await service.client.get("/v1/events", params={"task_id": task.id})
    assert listed.json()["data"][-1]["data"]["status"] == shown.json()["status"]


@pytest.mark.parametrize("provider", sorted(BODIES))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=200), body=st.binary(max_size=50))
async def test_no_callback_token_causes_a_5xx(service: Service, provider: str, token: str, body: bytes) -> None:
    address = f"/webhooks/{provider}/{quote(token, safe='')}"
    assert (await service.anybody.post(address, content=body)).status_code == 404
