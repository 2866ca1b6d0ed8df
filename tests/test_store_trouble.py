"""A store that cannot be written: said at once, nothing acknowledged that is not stored, and well again by itself."""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from service.ports.queries import DeliveryQuery
from service.store.schema import SchemaFromTheFuture
from service.store.sqlite import writer
from service.store.sqlite.lock import DatabaseInUse
from service.store.sqlite.store import open_store
from service.workers import outcomes
from tests.conftest import PATIENCE, Service, Subscriber, txt2img
from tests.store.parts import a_task, deliveries, failed_attempt

resource = pytest.importorskip("resource")

ORDINARY_PATIENCE = writer.PATIENCE


@contextmanager
def full_disk(service: Service) -> Iterator[None]:
    """No page more than the file has: what SQLite says then is what it says on a full disk."""
    db = service.database.db
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    assert free < 20
    db.execute("PRAGMA max_page_count = 1")
    try:
        yield
    finally:
        db.execute("PRAGMA max_page_count = 1000000000")


@contextmanager
def no_room_for_files(service: Service) -> Iterator[None]:
    """Every write beyond the present size of the log fails, as on a full disk."""
    log = Path(service.database.path + "-wal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(service: Service) -> Iterator[None]:
    db = service.database.db
    db.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        db.execute("PRAGMA query_only = OFF")


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Another program holds the file for writing."""
    other = sqlite3.connect(service.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is waited for, but not for the eight seconds of real life."""
    monkeypatch.setattr(writer, "PATIENCE", 0.3)


def test_the_patience_of_the_store_ends_before_that_of_a_provider() -> None:
    assert ORDINARY_PATIENCE <= 10


TROUBLES = pytest.mark.parametrize("trouble", [full_disk, no_room_for_files, read_only, locked])
Trouble = Callable[[Service], AbstractContextManager[None]]
BIG = {"note": "x" * 20_000}


async def a_callback(service: Service, sandbox: str) -> tuple[str, str, dict[str, str], dict[str, Any]]:
    """A task at the provider, and the address, headers and body of a true call about it."""
    task = await service.submit(txt2img("hold=gate delay=0.01"))
    await service.event(task["id"], "task.processing")
    async with httpx.AsyncClient(base_url=sandbox) as provider:
        [request] = [r for r in (await provider.get("/sandbox/requests")).json()["requests"] if r["method"] == "POST"]
    webhook = request["body"]["config"]["webhook_config"]
    shown = (await service.client.get(f"/v1/tasks/{task['id']}")).json()
    data: dict[str, Any] = {
        "task_id": shown["provider_task_id"],
        "status": "completed",
        "output": {"image_url": "https://x.example/a.png"},
    }
    return task["id"], webhook["endpoint"], {"x-webhook-secret": webhook["secret"]}, {"data": data}


@TROUBLES
async def test_a_callback_gets_a_timely_503_and_is_accepted_when_the_store_recovers(
    service: Service, sandbox: str, trouble: Trouble
) -> None:
    task_id, address, headers, body = await a_callback(service, sandbox)
    body["data"]["output"] |= BIG
    with trouble(service):
        started = asyncio.get_running_loop().time()
        response = await service.anybody.post(address, headers=headers, json=body)
        assert asyncio.get_running_loop().time() - started < 15
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        shown = (await service.client.get(f"/v1/tasks/{task_id}")).json()
        assert shown["status"] == "processing"
    assert (await service.anybody.post(address, headers=headers, json=body)).status_code == 200
    shown = (await service.client.get(f"/v1/tasks/{task_id}")).json()
    assert shown["status"] == "completed"
    types = [event["type"] for event in (await service.client.get("/v1/events")).json()["data"]]
    assert types.count("task.completed") == 1


@TROUBLES
async def test_a_task_that_cannot_be_stored_is_refused_and_not_sent(
    service: Service, sandbox: str, trouble: Trouble
) -> None:
    with trouble(service):
        response = await service.client.post("/v1/tasks", json=txt2img(metadata=BIG))
        assert response.status_code == 503
        assert response.json()["code"] == "unavailable"
        assert int(response.headers["retry-after"]) > 0
    assert (await service.client.get("/v1/tasks")).json()["data"] == []
    async with httpx.AsyncClient(base_url=sandbox) as provider:
        assert (await provider.get("/sandbox/ledger")).json()["submits"] == 0
    assert (await service.finished(txt2img()))["status"] == "completed"


@pytest.mark.parametrize("trouble", [no_room_for_files, read_only, locked])
async def test_readiness_reports_the_trouble_and_its_end(service: Service, trouble: Trouble) -> None:
    with trouble(service):
        response = await service.anybody.get("/readyz")
        assert response.status_code == 503
        assert "store" in response.json()["detail"]
        assert (await service.anybody.get("/healthz")).status_code == 200
    # The probe of a second ago may be answered once more.
    async with asyncio.timeout(PATIENCE):
        while (await service.anybody.get("/readyz")).status_code != 200:
            pass


async def test_what_was_read_before_the_trouble_is_still_read_in_it(service: Service) -> None:
    task = await service.finished(txt2img())
    with no_room_for_files(service):
        assert (await service.client.get(f"/v1/tasks/{task['id']}")).json()["status"] == "completed"


async def test_a_short_lock_by_another_program_only_delays(service: Service) -> None:
    with locked(service):
        asking = asyncio.create_task(service.submit(txt2img()))
        await until(lambda: service.database.writer.waiting)
    assert (await asking)["id"].startswith("tsk_")


async def test_a_reader_that_holds_a_snapshot_never_makes_a_writer_fail(service: Service) -> None:
    reader = sqlite3.connect(service.database.path, isolation_level=None)
    reader.execute("BEGIN")
    seen = reader.execute("SELECT count(*) FROM tasks").fetchone()
    tasks = await asyncio.gather(*(service.finished(txt2img(metadata=BIG)) for _ in range(10)))
    assert {task["status"] for task in tasks} == {"completed"}
    assert reader.execute("SELECT count(*) FROM tasks").fetchone() == seen == (0,)
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM tasks").fetchone() == (10,)
    reader.close()


async def test_a_providers_response_survives_the_trouble(service: Service) -> None:
    """It was paid for: it is kept in memory and written as soon as that works again."""
    task = await service.submit(txt2img("delay=0.05 answer_delay=0.2 callback=none"))
    await service.event(task["id"], "task.queued")
    await until(lambda: service.bridge.submitting.queues._queues["piapi"]._sending)
    with read_only(service):
        await until(lambda: not service.database.writer.healthy)
    event = await service.event(task["id"], "task.submitted")
    assert event["data"]["provider_task_id"]


async def test_claims_survive_a_hung_commit(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "test.db"))
    await store.tasks.add(a_task(), None)
    worker, _ = await store.workers.join(0, 1)
    answers = threading.Event()
    store.database.writer._thread.submit(answers.wait)
    taking = asyncio.create_task(store.submits.claim(worker, "piapi", 1, 0))
    await until(lambda: not store.database.writer.healthy)
    answers.set()
    assert len(await taking) == 1
    await store.close()


async def test_unrecorded_outcomes_are_recorded_when_the_store_recovers(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "test.db"))
    _, made = await deliveries(store, 3)
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorded = [store.queue.record(failed_attempt(item, None)) for item in made]
    await until(lambda: not store.database.writer.healthy)
    other.close()
    await asyncio.gather(*recorded)
    assert await store.queue.lanes("", 100) == []
    await store.close()


async def test_a_receivers_response_survives_the_trouble(
    service: Service, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not sent again: the outcome waits in memory until it can be written."""
    monkeypatch.setattr(outcomes, "RECORD_AGAIN", 0.05)
    well_again = asyncio.Event()

    async def answer(_: Request, __: bytes) -> Response:
        await well_again.wait()
        return Response(status_code=204)

    subscriber.answer = answer
    task = await service.finished(txt2img(callback_url=subscriber.url))
    await subscriber.count(1)
    with read_only(service):
        well_again.set()
        await until(lambda: not service.database.writer.healthy)
    stored = service.bridge.store.deliveries
    query = DeliveryQuery(None, task_id=task["id"], status="delivered")
    async with asyncio.timeout(PATIENCE):
        while not (found := await stored.find(query)):
            continue
    assert len(found[0].attempts) == len(subscriber.received) == 1


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_second_process_on_the_same_file_refuses_to_start(service: Service, env: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", env=env | {"PORT": "0"}, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"another Callbridge process uses test.db: stop it first" in said
    assert b"Traceback" not in said


async def test_a_file_is_free_again_when_its_process_is_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "test.db")
    first = await open_store(path)
    with pytest.raises(DatabaseInUse):
        await open_store(path)
    await first.close()
    await (await open_store(path)).close()


async def test_a_schema_from_the_future_is_refused_with_a_sentence_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    store = await open_store(str(path))
    await store.tasks.add(a_task(), None)
    await store.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE schema_version SET version = 99")
    db.commit()
    db.close()
    before = path.read_bytes()
    kept = []
    for _ in range(2):  # nothing of the first refusal is in the way of the second
        with pytest.raises(SchemaFromTheFuture, match=r"schema 99.*install a newer one") as refused:
            await open_store(str(path))
        assert path.read_bytes() == before
        kept.append(refused)
