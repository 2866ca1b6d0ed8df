"""Long reads take turns and have connections of their own, so that nobody waits behind another's pages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import aconnect_sse

from service.flows.turns import AT_ONCE
from service.ports.queries import EventQuery
from service.ports.store import Store
from service.store.open import open_store
from service.store.postgres.database import LONG_READS
from service.store.postgres.store import PostgresStore
from service.store.sqlite.store import SqliteStore
from tests.conftest import PATIENCE, TXT2IMG, Service, txt2img
from tests.servers import fresh_database
from tests.store.parts import a_subscription, added


@asynccontextmanager
async def every_turn_of(service: Service, caller: str) -> AsyncIterator[None]:
    """As if this caller had as many long reads under way as it may have."""
    async with AsyncExitStack() as held:
        for _ in range(AT_ONCE):
            await held.enter_async_context(service.bridge.web.turns.take(caller))
        yield


async def test_a_replay_to_a_stream_takes_its_owners_turns_and_nobody_elses(service: Service) -> None:
    first = await service.finished(TXT2IMG)
    headers = {"Accept": "text/event-stream"}
    async with AsyncExitStack() as streams:
        async with every_turn_of(service, "alice"):
            source = await streams.enter_async_context(
                aconnect_sse(service.client, "GET", "/v1/events?after=0", headers=headers)
            )
            events = source.aiter_sse()
            told = asyncio.create_task(anext(events))
            # A list of another owner is read meanwhile; alice's stream has nothing to tell yet.
            assert (await service.bob.get("/v1/tasks")).status_code == 200
            assert not told.done()
        async with asyncio.timeout(PATIENCE):
            assert (await told).json()["data"]["id"] == first["id"]


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/events", "/v1/deliveries", "/v1/subscriptions", "/v1/callbacks"])
async def test_every_list_takes_a_turn(service: Service, path: str) -> None:
    async with every_turn_of(service, "ops"):
        waits = asyncio.create_task(service.admin.get(path))
        assert (await service.bob.get("/v1/tasks")).status_code == 200
        assert not waits.done()
    assert (await waits).status_code == 200


async def test_counting_for_a_replay_takes_a_turn(service: Service) -> None:
    made = await service.client.post("/v1/subscriptions", json={"url": "http://127.0.0.1:9/"})
    path = f"/v1/subscriptions/{made.json()['id']}/replay"
    async with every_turn_of(service, "alice"):
        waits = asyncio.create_task(service.client.post(path, json={"after": 0}))
        assert (await service.bob.get("/v1/tasks")).status_code == 200
        assert not waits.done()
    assert (await waits).status_code == 202


@asynccontextmanager
async def every_long_reader(store: Store) -> AsyncIterator[None]:
    async with AsyncExitStack() as held:
        if isinstance(store, SqliteStore):
            for _ in range(store.database.long_readers.count):
                await held.enter_async_context(store.database.long_readers.take())
        else:
            assert isinstance(store, PostgresStore)
            for _ in range(LONG_READS):
                await held.enter_async_context(store.database.long_reads)
        yield


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_lookup_does_not_wait_behind_long_reads(engine: str, tmp_path: Path) -> None:
    store = await open_store(fresh_database() if engine == "postgres" else f"sqlite:///{tmp_path / 'test.db'}")
    task, subscription = await added(store), a_subscription()
    await store.subscriptions.add(subscription)
    async with asyncio.timeout(PATIENCE):
        async with every_long_reader(store):
            page = asyncio.create_task(store.events.after(EventQuery(None)))
            assert await store.tasks.get(task.id) == task
            assert await store.subscriptions.get(subscription.id) == subscription
            assert await store.deliveries.get(1) is None
            assert not page.done()
        assert len(await page) == 1
    await store.close()


async def test_subscriptions_come_in_pages_newest_first(service: Service) -> None:
    ids = []
    for n in range(5):
        made = await service.client.post("/v1/subscriptions", json={"url": f"http://127.0.0.1:9/{n}"})
        ids.append(made.json()["id"])
    found: list[str] = []
    query = httpx.QueryParams(limit=2)
    while True:
        page = (await service.client.get("/v1/subscriptions", params=query)).json()
        found += [item["id"] for item in page["data"]]
        if page["next_cursor"] is None:
            break
        query = query.set("cursor", page["next_cursor"])
    assert found == ids[::-1]
    assert (await service.client.get("/v1/subscriptions?cursor=x")).status_code == 422


async def test_a_replay_of_large_events_reads_them_in_pages_of_bytes(service: Service) -> None:
    """Whatever the number of a step: a page ends by its bytes, and the next one goes on behind it."""
    tasks = [await service.finished(txt2img(metadata={"pad": "x" * 300_000})) for _ in range(3)]
    page = await service.bridge.store.events.after(
        EventQuery("alice", types=("task.completed",), limit=100, max_bytes=100_000)
    )
    assert ([event.task_id for event in page], page.more) == ([tasks[0]["id"]], True)
    last = await service.bridge.store.events.after(
        EventQuery("alice", after=page[0].seq, types=("task.completed",), limit=2, max_bytes=10**7)
    )
    assert ([event.task_id for event in last], last.more) == ([task["id"] for task in tasks[1:]], False)
