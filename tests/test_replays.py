"""Replays to receivers that take their time."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from service.workers import replay
from tests.conftest import PATIENCE, Service, Subscriber, txt2img

EVERY_MOVE = ["task.queued", "task.submitted", "task.processing", "task.completed"]


async def test_a_stop_does_not_wait_for_a_replay_to_a_receiver_that_hangs(
    service: Service, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()

    async def hang(request: Request, body: bytes) -> Response:
        await never.wait()
        return Response()

    monkeypatch.setattr(replay, "STEP", 1)
    subscriber.answer = hang
    await asyncio.gather(*(service.finished(txt2img()) for _ in range(5)))
    made = await service.client.post("/v1/subscriptions", json={"url": subscriber.url, "events": EVERY_MOVE})
    path = f"/v1/subscriptions/{made.json()['id']}/replay"
    assert (await service.client.post(path, json={"after": 0})).status_code == 202
    await subscriber.count(1)
    delivering = service.bridge.delivering
    assert delivering.replaying
    async with asyncio.timeout(PATIENCE):
        await delivering.stop_replays()
        while delivering.replaying:
            await asyncio.sleep(0)
    assert (await service.client.post(path, json={"after": 0})).status_code == 409
    never.set()
