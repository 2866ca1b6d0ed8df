"""SIGTERM in the middle of everything: what was acknowledged is kept, and the exit is in order."""

import asyncio
import signal
from contextlib import AsyncExitStack
from time import monotonic

import httpx
import pytest
from httpx_sse import aconnect_sse

from tests.conftest import Subscriber, img2img, txt2img
from tests.test_stop import ended, process

SUBMITTERS, STREAMS = 4, 5
# Heroku kills a process after 30 s.
IN_TIME = 25.0


async def submit_until_it_stops(client: httpx.AsyncClient, acknowledged: set[str]) -> None:
    bodies = (txt2img, img2img)
    for number in range(10_000):
        try:
            response = await client.post("/v1/tasks", json=bodies[number % 2]("callback_retry=1"))
        except httpx.TransportError:
            return
        if response.status_code != 202:
            assert response.status_code == 503, response.text
            return
        acknowledged.add(response.json()["id"])


async def follow(client: httpx.AsyncClient) -> None:
    """Ends with the stream; a broken one raises."""
    async with aconnect_sse(client, "GET", "/v1/events?after=0") as source:
        async for _ in source.aiter_sse():
            pass


@pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)
async def test_sigterm_under_load_keeps_what_was_acknowledged(
    env: dict[str, str], sandbox: str, subscriber: Subscriber
) -> None:
    env |= {"PIAPI_MAX_INFLIGHT": "50", "MODELSLAB_MAX_INFLIGHT": "50"}
    acknowledged: set[str] = set()

    def completed() -> set[str]:
        return {event["data"]["id"] for event in subscriber.events if event["type"] == "task.completed"}

    async with AsyncExitStack() as stack:
        one, client = await stack.enter_async_context(process(env))
        await client.post("/v1/subscriptions", json={"url": subscriber.url})
        streams = [asyncio.create_task(follow(client)) for _ in range(STREAMS)]
        submitters = [asyncio.create_task(submit_until_it_stops(client, acknowledged)) for _ in range(SUBMITTERS)]
        await subscriber.until(lambda: len(completed()) >= 15)
        began = monotonic()
        one.send_signal(signal.SIGTERM)
        code, text = await ended(one)
        assert (code, monotonic() - began < IN_TIME) == (0, True), text
        assert "Traceback" not in text
        await asyncio.gather(*streams, *submitters)
        left = acknowledged - completed()
    assert left, "The load was over before the signal came."
    async with process(env) as (_, client):
        await subscriber.until(lambda: acknowledged <= completed())
        ledger = (await client.get(f"{sandbox}/sandbox/ledger")).json()
    assert ledger["submits"] == len(acknowledged)
