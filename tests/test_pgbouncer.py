"""PostgreSQL behind a real pgbouncer. Not collected where none is installed; `.ci/run` installs it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.ports.queries import EventQuery, TaskQuery
from service.store.errors import CannotOpen
from service.store.open import open_store
from service.store.postgres import pooler
from service.store.postgres.store import PostgresStore
from service.tools.harness.ports import free_port
from tests.conftest import Service, Subscriber, environment, img2img, running, txt2img
from tests.pgbouncer import keeps_statements, pgbouncer
from tests.servers import fresh_database, postgres
from tests.store.parts import added, finished

STATEMENTS = ("max_prepared_statements = 0", "max_prepared_statements = 100") if keeps_statements() else ("",)


@pytest.fixture
def direct() -> str:
    """The address of the server itself."""
    return fresh_database()


@pytest.fixture(params=STATEMENTS)
def pooled(direct: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with pgbouncer(postgres(), "transaction", request.param) as port:
        yield through(direct, port)


def through(url: str, port: int) -> str:
    return url.replace(f":{postgres().port}/", f":{port}/")


@pytest.fixture
async def services(sandbox: str, pooled: str, direct: str, tmp_path: Path) -> AsyncIterator[list[Service]]:
    """Two processes, as far as the database can tell."""
    async with AsyncExitStack() as stack:
        addresses = {"DATABASE_URL": pooled, "DATABASE_DIRECT_URL": direct}
        yield [
            await stack.enter_async_context(running(environment(sandbox, tmp_path, free_port()) | addresses))
            for _ in range(2)
        ]


async def test_tasks_are_submitted_called_back_and_delivered_once(
    services: list[Service], subscriber: Subscriber
) -> None:
    one = services[0]
    await one.client.post("/v1/subscriptions", json={"url": subscriber.url})
    tasks = await asyncio.gather(
        *(service.finished(body()) for service in services for body in (txt2img, img2img) for _ in range(5))
    )
    assert {task["status"] for task in tasks} == {"completed"}
    await subscriber.count(len(tasks))
    assert sorted(event["data"]["id"] for event in subscriber.events) == sorted(task["id"] for task in tasks)
    listed = [await service.client.get("/v1/tasks?limit=50&status=completed") for service in services]
    assert [len(page.json()["data"]) for page in listed] == [len(tasks)] * 2


async def test_an_event_reaches_the_other_process(services: list[Service]) -> None:
    one, other = services
    arrived = asyncio.Event()
    other.bridge.store.observers.event.append(lambda _: arrived.set())
    await one.submit(txt2img())
    async with asyncio.timeout(20):
        await arrived.wait()


async def test_a_process_started_later_uses_sessions_that_an_earlier_one_left(
    pooled: str, direct: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client numbers its statements from 1 in every process, and the sessions outlive the process."""
    for _ in range(3):
        monkeypatch.setattr("asyncpg.connection._uid", 0)
        store = await open_store(pooled, direct)
        await finished(store)
        for _ in range(10):
            assert await store.tasks.find(TaskQuery(None))
            assert await store.events.after(EventQuery(None))
        await store.close()


async def test_a_pooler_without_a_direct_address_is_refused_by_name(
    pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooler, "WAIT", 0.3)
    with pytest.raises(CannotOpen, match="DATABASE_DIRECT_URL"):
        await open_store(pooled)
    with pytest.raises(CannotOpen, match="DATABASE_DIRECT_URL"):
        await open_store(pooled, pooled)


async def test_a_direct_address_of_another_database_is_refused(direct: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooler, "WAIT", 0.3)
    with pytest.raises(CannotOpen, match="same database"):
        await open_store(direct, fresh_database())


async def test_a_pooler_in_session_mode_needs_no_direct_address(direct: str) -> None:
    with pgbouncer(postgres(), "session", "default_pool_size = 30") as port:
        stores = [await open_store(through(direct, port)) for _ in range(2)]
        arrived = asyncio.Event()
        stores[1].observers.event.append(lambda _: arrived.set())
        await added(stores[0])
        async with asyncio.timeout(20):
            await arrived.wait()
        for store in stores:
            assert isinstance(store, PostgresStore)
            assert not store.database.pooled
            await store.close()
