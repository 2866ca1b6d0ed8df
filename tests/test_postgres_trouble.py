"""What PostgreSQL may do to the service: commit late, restart, hang, only read, be newer or a pooler."""

import asyncio
import random
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.core.errors import Unavailable
from service.core.points import Point
from service.core.task import Status as S
from service.ports.queries import EventQuery, TaskQuery
from service.store.errors import CannotOpen
from service.store.postgres import connection, database, writer
from service.store.postgres.connection import Unit
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.publish import EVENT_STORED
from service.store.postgres.store import PostgresStore, open_store
from service.store.postgres.submits import CLAIM_STORED
from service.store.schema import SchemaFromTheFuture
from service.tools.harness.ports import free_port
from service.tools.postgres import PostgresServer
from tests.conftest import PATIENCE, Subscriber, environment, running, txt2img
from tests.servers import fresh_database
from tests.store.parts import a_subscription, a_task, added, to


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    # Not in tmp_path, which pytest closes to everybody else again and again.
    with tempfile.TemporaryDirectory(prefix="callbridge-postgres-") as folder:
        server = PostgresServer(Path(folder) / "server")
        server.create()
        server.start()
        yield server
        server.stop(signal.SIGQUIT)


@pytest.fixture
async def stores() -> AsyncIterator[list[PostgresStore]]:
    """Two processes, as far as the database can tell."""
    url = fresh_database()
    both = [await open_store(url) for _ in range(2)]
    yield both
    for one in both:
        await one.close()


# --- the order of commits ---


async def test_no_event_is_passed_over_whose_transaction_commits_late(stores: list[PostgresStore]) -> None:
    """Of three writers the first is held open: neither a read nor an observer sees a later seq before its own."""
    slow, fast = stores
    reader = await open_store(slow.database.url)
    told: list[int] = []
    reader.observers.event.append(lambda event: told.append(event.seq))
    held, let_go = asyncio.Event(), asyncio.Event()
    commit = slow.database.commit

    async def commit_late(*args: object) -> None:
        held.set()
        await let_go.wait()
        await commit(*args)  # type: ignore[arg-type]

    slow.database.commit = commit_late  # type: ignore[assignment]
    first = asyncio.create_task(slow.tasks.add(a_task(), None))
    await held.wait()
    second = asyncio.create_task(fast.tasks.add(a_task(), None))
    done, _ = await asyncio.wait([second], timeout=0.5)
    assert not done
    assert [event.seq for event in await reader.events.after(EventQuery(None))] == []
    let_go.set()
    await asyncio.gather(first, second)
    async with asyncio.timeout(PATIENCE):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    assert told == [event.seq for event in await reader.events.after(EventQuery(None))] == [1, 2]
    await reader.close()


async def test_a_process_that_stands_still_in_a_transaction_does_not_stop_the_others(
    stores: list[PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, other = stores
    task = await added(other)
    changed = []

    async def stand_still() -> None:
        async with AsyncExitStack() as stack:
            # For this transaction alone: on a busy machine the others may pause for as long.
            with monkeypatch.context() as patched:
                patched.setattr(connection, "IDLE_IN_TRANSACTION_MS", 1000)
                unit = await stack.enter_async_context(frozen.database.transaction(Point.TIDY))
            # What a writer holds in the middle of its work.
            await unit.connection.execute(writer.TURN)
            await unit.connection.execute("SELECT 1 FROM counters FOR UPDATE")
            async with asyncio.timeout(PATIENCE):
                changed.append(await other.tasks.change(Point.CALLBACK, task.id, to(S.COMPLETED)))

    with pytest.raises(Unavailable):
        await stand_still()
    assert [task.status for task in changed if task] == [S.COMPLETED]


async def test_lanes_are_drained_when_what_is_being_committed_was_handed_over(stores: list[PostgresStore]) -> None:
    """Else a delivery that was accepted in time would come to a lane that was given away meanwhile."""
    store = stores[0]
    held, let_go = asyncio.Event(), asyncio.Event()
    commit = store.database.commit

    async def commit_late(*args: object) -> None:
        held.set()
        await let_go.wait()
        await commit(*args)  # type: ignore[arg-type]

    store.database.commit = commit_late  # type: ignore[assignment]
    told: list[int] = []
    store.observers.event.append(lambda event: told.append(event.seq))
    adding = asyncio.create_task(store.tasks.add(a_task(), None))
    await held.wait()
    draining = asyncio.create_task(store.lanes.drain())
    done, _ = await asyncio.wait([draining], timeout=0.2)
    assert not done
    let_go.set()
    await draining
    assert told == [1]
    await adding


async def test_two_processes_tell_all_events_in_one_order_without_gap_or_repeat(stores: list[PostgresStore]) -> None:
    told: list[list[int]] = [[], []]
    for store, heard in zip(stores, told, strict=True):
        store.observers.event.append(lambda event, heard=heard: heard.append(event.seq))  # type: ignore[misc]
    await asyncio.gather(*(added(stores[n % 2]) for n in range(120)))
    async with asyncio.timeout(PATIENCE):
        while min(map(len, told)) < 120:
            await asyncio.sleep(0.01)
    assert told == [list(range(1, 121))] * 2


async def test_an_event_reaches_the_other_process_without_waiting_for_the_poll(stores: list[PostgresStore]) -> None:
    one, other = stores
    await one.events.last_seq()
    await asyncio.sleep(0)
    for _ in range(5):
        arrived = asyncio.Event()
        other.observers.event[:] = [lambda event, arrived=arrived: arrived.set()]  # type: ignore[misc]
        await added(one)
        async with asyncio.timeout(PATIENCE):
            await arrived.wait()


async def test_a_new_subscription_receives_the_very_next_event_of_another_process(
    stores: list[PostgresStore],
) -> None:
    one, other = stores
    subscription = a_subscription(events=("task.queued",))
    await one.subscriptions.add(subscription)
    await added(other)
    assert len(await one.queue.lanes("", 10)) == 1


# --- trouble ---


async def test_a_start_waits_for_the_server_and_then_ends_naming_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresDatabase.open, "__defaults__", (0.5,))
    with pytest.raises(CannotOpen, match="DATABASE_URL"):
        await open_store(f"postgresql://me:secret-word@127.0.0.1:{free_port()}/x")
    with pytest.raises(CannotOpen, match="DATABASE_URL") as refused:
        await open_store(fresh_database().replace("/test_", "/no_such_"))
    assert "secret-word" not in str(refused.value)


async def test_a_newer_schema_is_refused_with_both_versions() -> None:
    url = fresh_database()
    await (await open_store(url)).close()
    connection = await asyncpg.connect(url)
    known = await connection.fetchval("SELECT version FROM schema_version")
    await connection.execute("UPDATE schema_version SET version = 99")
    await connection.close()
    with pytest.raises(SchemaFromTheFuture, match=f"99.*{known}"):
        await open_store(url)


async def test_many_processes_may_start_at_once_on_an_empty_database(own_server: PostgresServer) -> None:
    opened = await asyncio.gather(*(open_store(own_server.url()) for _ in range(5)))
    await asyncio.gather(*(added(store) for store in opened))
    assert len(await opened[0].tasks.find(TaskQuery(None))) == 5
    await asyncio.gather(*(store.close() for store in opened))


async def test_intake_says_503_while_the_server_is_gone_and_goes_on_when_it_is_back(
    own_server: PostgresServer, sandbox: str, subscriber: Subscriber, tmp_path: Path
) -> None:
    env = environment(sandbox, tmp_path, free_port()) | {"DATABASE_URL": own_server.url()}
    async with running(env) as service:
        await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
        before = await service.submit(txt2img("hold=gate"))
        own_server.stop(signal.SIGQUIT)
        async with asyncio.timeout(15):
            refused = await service.client.post("/v1/tasks", json=txt2img())
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert refused.headers["retry-after"]
        assert (await service.anybody.get("/readyz")).status_code == 503
        own_server.start()
        async with asyncio.timeout(2 * PATIENCE):
            while (await service.anybody.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
        after = await service.submit(txt2img())
        await subscriber.until(lambda: any(event["data"]["id"] == after["id"] for event in subscriber.events))
        assert (await service.client.get(f"/v1/tasks/{before['id']}")).status_code == 200


async def test_intake_says_503_while_the_server_hangs(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 1.0)
    store = await open_store(own_server.url())
    task = await added(store)
    own_server.freeze()
    try:
        async with asyncio.timeout(15):
            with pytest.raises(Unavailable):
                await store.tasks.change(Point.CALLBACK, task.id, to(S.COMPLETED))
            with pytest.raises(Unavailable):
                await store.tasks.get(task.id)
        assert store.trouble() is not None
    finally:
        own_server.thaw()
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            try:
                moved = await store.tasks.change(Point.CALLBACK, task.id, to(S.COMPLETED))
                break
            except Unavailable:
                await asyncio.sleep(0.1)
    assert moved is not None
    await store.close()


async def test_a_server_that_only_reads_is_unavailable(own_server: PostgresServer) -> None:
    store = await open_store(own_server.url())
    own_server.sql("ALTER DATABASE postgres SET default_transaction_read_only = on")
    own_server.restart()
    # The first finds a line of before the restart.
    for _ in range(database.POOL + 1):
        with pytest.raises(Unavailable):
            await store.ping()
    await store.close()


async def test_a_commit_with_a_lost_response_is_detected(own_server: PostgresServer) -> None:
    """The line breaks between the commit and its answer: the change counts, and its caller hears of it."""
    store = await open_store(own_server.url())
    task = await added(store)
    store.writer._connection = Breaking(store.writer._connection)  # type: ignore[assignment]
    moved = await store.tasks.change(Point.CALLBACK, task.id, to(S.COMPLETED))
    assert moved is not None
    assert await store.tasks.get(task.id) == moved
    await store.close()


async def test_the_number_of_a_lost_transaction_given_to_another_proves_nothing() -> None:
    store = await open_store(fresh_database())
    task = await added(store)
    now = await store.workers.now()
    worker, _ = await store.workers.join(now, now + 60_000)
    await store.submits.claim(worker, task.provider, 1, 0)
    async with store.database.connection() as connection:
        unit = Unit(connection)
        unit.xid = await connection.fetchval("SELECT xmin::text FROM events LIMIT 1")
        event = await connection.fetchval("SELECT id FROM events WHERE seq = 1")
        for query, stored, lost in (
            (EVENT_STORED, (1, event), (1, "evt_lost")),
            (CLAIM_STORED, (task.id, str(worker)), (task.id, str(worker + 1))),
        ):
            unit.proof = query, *stored
            assert await store.database.was_committed(unit)
            unit.proof = query, *lost
            assert not await store.database.was_committed(unit)
    await store.close()


class Breaking:
    """A connection whose line breaks after COMMIT."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, query: str, *args: Any, **more: Any) -> str:
        answer = await self._connection.execute(query, *args, **more)
        if query == "COMMIT":
            raise ConnectionResetError("the line broke")
        return str(answer)


async def test_work_goes_on_while_connections_are_killed_at_random(
    sandbox: str, subscriber: Subscriber, tmp_path: Path
) -> None:
    """Every kind of work meets it; what was acknowledged is finished and told."""
    url = fresh_database()
    chance = random.Random(7)
    env = environment(sandbox, tmp_path, free_port()) | {"DATABASE_URL": url, "SWEEP_AFTER": "1"}
    killer = await asyncpg.connect(url.rpartition("/")[0] + "/postgres")

    async def kill() -> None:
        while True:
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND random() < 0.5",
                url.rpartition("/")[2],
            )
            await asyncio.sleep(chance.uniform(0.05, 0.3))

    async with running(env | {"RETRY_SCHEDULE": ",".join(["0.5"] * 20)}) as service:
        await service.client.post("/v1/subscriptions", json={"url": subscriber.url, "events": ["task.completed"]})
        killing = asyncio.create_task(kill())
        acknowledged = []
        for n in range(20):
            async with asyncio.timeout(15):
                response = await service.client.post("/v1/tasks", json=txt2img(metadata={"n": n}))
            assert response.status_code in (202, 503)
            if response.status_code == 202:
                acknowledged.append(response.json()["id"])
            await asyncio.sleep(0.05)
        killing.cancel()
        assert acknowledged
        async with asyncio.timeout(2 * PATIENCE):
            await subscriber.until(lambda: set(acknowledged) <= {event["data"]["id"] for event in subscriber.events})
    await killer.close()


async def test_a_process_never_has_more_than_eight_connections(sandbox: str, tmp_path: Path) -> None:
    url = fresh_database()
    watcher = await asyncpg.connect(url.rpartition("/")[0] + "/postgres")
    async with running(environment(sandbox, tmp_path, free_port()) | {"DATABASE_URL": url}) as service:
        requests = [service.finished(txt2img()) for _ in range(20)]
        requests += [service.client.get("/v1/events?after=0") for _ in range(40)]  # type: ignore[misc]
        running_requests = asyncio.gather(*requests)
        most = 0
        while not running_requests.done():
            used = await watcher.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", url.rpartition("/")[2]
            )
            most = max(most, used)
        await running_requests
        assert 2 < most <= 8
    await watcher.close()


async def test_a_start_on_a_server_that_only_reads_ends(own_server: PostgresServer) -> None:
    """A standby, or one whose operator says so: at a start it is waited for, then the start ends."""
    own_server.sql("ALTER DATABASE postgres SET default_transaction_read_only = on")
    with pytest.raises(CannotOpen, match=r"DATABASE_URL .*read-only"):
        await PostgresDatabase(own_server.url()).open(patience=0.5)


# As a full disk refuses a row: a small probe may still find room.
FULL_DISK = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def test_a_full_disk_refuses_tasks_and_is_not_ready(sandbox: str, tmp_path: Path) -> None:
    url = fresh_database()
    operator = await asyncpg.connect(url)
    async with running(environment(sandbox, tmp_path, free_port()) | {"DATABASE_URL": url}) as service:
        await operator.execute(FULL_DISK)
        refused = await service.client.post("/v1/tasks", json=txt2img())
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert (await service.anybody.get("/readyz")).status_code == 503
        await operator.execute("DROP TRIGGER full_disk ON tasks")
        assert (await service.finished(txt2img()))["status"] == "completed"
        assert (await service.anybody.get("/readyz")).status_code == 200
    await operator.close()


async def test_a_store_closes_though_a_cancellation_was_lost(stores: list[PostgresStore]) -> None:
    """As happens when it meets the end of a wait inside of asyncpg."""
    deaf = asyncio.Event()

    async def loses_the_first() -> None:
        with suppress(asyncio.CancelledError):
            await deaf.wait()
        await deaf.wait()

    stores[0].feed._tasks.append(asyncio.create_task(loses_the_first()))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await stores[0].feed.close()
