"""A year of the service in seconds: tasks come and go, and nothing that is kept grows from month to month."""

import asyncio
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from service.core import times
from service.store.open import open_store
from service.store.postgres import callbacks as postgres_callbacks
from service.store.sqlite import callbacks as sqlite_callbacks
from service.store.sqlite.checkpoint import LAST_RESORT
from service.tools.harness.ports import free_port
from service.workers import retention
from tests.conftest import PATIENCE, Service, Subscriber, img2img, running, txt2img
from tests.servers import fresh_database
from tests.store.parts import a_task

DAY = 86_400
# A restart after every three months.
RUNS, MONTHS, DAYS = 4, 3, 30
RETENTION_DAYS = 45
# From the third month on something goes as it comes: nothing may grow any more.
FULL, HALF = 3, 7
Counts = dict[str, int]
CHANGES = 50


class Calendar:
    """Sets every clock of the service that judges what is old, and the age of its files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0
        wall = times.clock.wall
        monkeypatch.setattr(times.clock, "wall", lambda: wall() + self.seconds * 1_000_000_000)
        steady = SimpleNamespace(monotonic=lambda: time.monotonic() + self.seconds)
        monkeypatch.setattr(retention, "time", steady)
        monkeypatch.setattr(retention, "REST", 1)

    async def passes(self, days: int, service: Service, media: Path) -> None:
        await service.bridge._tidier.clock.now()
        self.seconds += days * DAY
        # The jump alone would end the lease, which a service that runs all the time has kept renewing.
        await service.bridge.lease.beat()
        make_older(media, days)


def make_older(folder: Path, days: int) -> None:
    for path in folder.iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - days * DAY))


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calendar]:
    for callbacks in (sqlite_callbacks, postgres_callbacks):
        monkeypatch.setattr(callbacks, "KEPT_CALLBACKS", 20)
        monkeypatch.setattr(callbacks, "CALLBACKS_AT_ONCE", 5)
    yield Calendar(monkeypatch)
    times.clock.follow()


async def a_month(service: Service, subscriber: Subscriber, month: int) -> None:
    """A little of everything that is written down."""
    path = "/v1/subscriptions"
    gone = await service.client.post(path, json={"url": f"http://127.0.0.1:{free_port()}", "events": ["task.failed"]})
    bodies: list[dict[str, Any]] = [
        *(txt2img("instant=1", metadata={"order": f"{month}"}) for number in range(6)),
        txt2img("output=base64"),
        img2img("fail=broken"),
        txt2img("submit=400"),
        txt2img("delay=0.01", callback_url=subscriber.url + "/of-a-task", callback_events=["task.completed"]),
    ]
    bodies[6]["input"]["prompt"] += f" number {month}"
    tasks = await asyncio.gather(
        *(
            service.submit(body, **{"Prefer": "wait=15", "Idempotency-Key": f"{month}-{number}"})
            for number, body in enumerate(bodies)
        )
    )
    assert [task["status"] for task in tasks] == ["completed"] * 7 + ["failed"] * 2 + ["completed"]
    held = await service.submit(txt2img("hold=never"))
    await service.client.post(f"/v1/tasks/{held['id']}/cancel")
    await service.client.post("/webhooks/piapi/forged", json={})
    for task in tasks:
        if task["status"] == "completed":
            await service.event(task["id"], "task.stored")
    await settled(service)
    name = (await service.client.get(path)).json()["data"][-1]["id"]
    await service.client.post(f"{path}/{name}/ping", json={})
    assert (await service.client.post(f"{path}/{name}/replay", json={"after": 0})).status_code == 202
    await service.client.delete(f"{path}/{gone.json()['id']}")
    await settled(service)


async def settled(service: Service) -> None:
    """No delivery waits any more."""
    async with asyncio.timeout(PATIENCE):
        while (await service.admin.get("/v1/deliveries?status=pending&limit=1")).json()["data"]:
            await asyncio.sleep(0.02)


async def removed(service: Service) -> None:
    """What the loops of the tidier and of the copy remover do once in a while."""
    tidier = service.bridge._tidier
    await tidier.old_tasks()
    await tidier.leftovers()
    assert service.bridge.copying is not None
    while await service.bridge.copying.remover.step():
        pass


def sqlite_counts(path: Path) -> Counts:
    with sqlite3.connect(path) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = {f"rows of {name}": db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    db.close()
    found["pages of the file"] = path.stat().st_size // 4096
    found["pages of the log"] = path.with_name(f"{path.name}-wal").stat().st_size // 4096
    return found


async def postgres_counts(url: str) -> Counts:
    db = await asyncpg.connect(url)
    try:
        tables = [row[0] for row in await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {f"rows of {name}": await db.fetchval(f"SELECT count(*) FROM {name}") for name in tables}
    finally:
        await db.close()


def files(folder: Path) -> Counts:
    return {f"files in {name}": sum(1 for _ in (folder / name).rglob("*")) for name in ("media", "results")}


@pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)
async def test_a_year_of_tasks_leaves_no_more_than_a_month(
    env: dict[str, str], tmp_path: Path, subscriber: Subscriber, calendar: Calendar, engine: str
) -> None:
    env |= {
        "RESULTS_URL": f"file://{tmp_path / 'results'}",
        "RETRY_SCHEDULE": "0.01",
        "RETENTION_DAYS": str(RETENTION_DAYS),
    }
    (tmp_path / "media").mkdir()
    kept: dict[str, list[int]] = defaultdict(list)
    for run in range(RUNS):
        async with running(env) as service:
            if run == 0:
                await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
            for month in range(MONTHS):
                await calendar.passes(DAYS, service, tmp_path / "media")
                await asyncio.gather(a_month(service, subscriber, run * MONTHS + month), removed(service))
                await removed(service)
                if engine == "sqlite":
                    counts = sqlite_counts(tmp_path / "test.db")
                else:
                    counts = await postgres_counts(env["DATABASE_URL"])
                for what, count in (counts | files(tmp_path)).items():
                    kept[what].append(count)
    # Whenever it is looked at, the log is copied back before it has many more pages.
    assert all(pages <= 2 * LAST_RESORT for pages in kept.pop("pages of the log", []))
    growing = {what: found for what, found in kept.items() if max(found[HALF:]) > 1.1 * max(found[FULL:HALF]) + 2}
    assert growing == {}
    assert kept["rows of tasks"][-1] > 10


async def test_rows_that_change_all_the_time_need_no_vacuum() -> None:
    """PostgreSQL makes room in the page itself, as long as no index has to be told of a change."""
    url = fresh_database()
    store = await open_store(url)
    now = await store.workers.now()
    worker = (await store.workers.join(now, now + 60_000)).worker
    for number in range(CHANGES):
        await store.tasks.add(a_task(), None)
        await store.workers.renew(worker, now + 60_000 + number)
        await store.metrics.publish(worker, b"%d" % number, 0)
        await store.ping()
    await store.close()
    for table in ("counters", "workers", "worker_counts", "meta"):
        changed, in_the_page = await changes(url, table, CHANGES - 1)
        assert (table, in_the_page) == (table, changed)


async def changes(url: str, table: str, at_least: int) -> tuple[int, int]:
    """How many there were of its rows, and how many of those without a new entry in an index."""
    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1"
    db = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(PATIENCE):
            # A session tells of them when it ends.
            while (row := await db.fetchrow(query, table)) is None or row[0] < at_least:
                await asyncio.sleep(0.05)
        return row[0], row[1]
    finally:
        await db.close()
