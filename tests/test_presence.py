"""A worker whose process was killed is known before its lease is over; one that only stands still is not touched."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from service.core.lanes import ALL_GROUPS
from service.store.open import open_store
from service.store.postgres import presence
from service.store.postgres.store import PostgresStore
from tests.conftest import PATIENCE
from tests.servers import fresh_database

FAR = 10**15
# Joins for a thousand years, and takes every lane.
WORKER = f"""
import asyncio, sys
from service.core.lanes import GROUPS
from service.store.open import open_store

async def main():
    store = await open_store(sys.argv[1])
    worker, _ = await store.workers.join(0, {FAR})
    await store.lanes.take(worker, GROUPS)
    print(worker, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def url() -> str:
    return fresh_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    one = await open_store(url)
    assert isinstance(one, PostgresStore)
    yield one
    await one.close()


@pytest.fixture
async def process(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    one = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, url, stdout=asyncio.subprocess.PIPE)
    yield one
    if one.returncode is None:
        one.kill()
        await one.wait()


async def number_of(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    return int(await process.stdout.readline())


async def locked(store: PostgresStore, worker: int, *, so: bool = True) -> None:
    """Returns when the worker holds the lock that says it lives, or (not `so`) when it is known to hold none."""
    held = (
        f"SELECT id IN ({presence.ABSENT}) AS absent, EXISTS (SELECT 1 FROM pg_locks WHERE classid = $1"
        " AND objid = workers.id::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        " AS held FROM workers WHERE id = $2 AND present"
    )
    async with asyncio.timeout(PATIENCE):
        while True:
            for row in await store.database.rows(held, presence.CLASS, worker):
                if row["held"] if so else row["absent"]:
                    return
            await asyncio.sleep(0.01)


async def ended(store: PostgresStore) -> list[int]:
    """The workers that are found to be gone; waits for the first."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await store.workers.end_expired(0)):
            await asyncio.sleep(0.05)
    return found


async def test_a_killed_process_is_known_long_before_its_lease_is_over(
    store: PostgresStore, process: asyncio.subprocess.Process
) -> None:
    worker = await number_of(process)
    await locked(store, worker)
    mine, alone = await store.workers.join(1, FAR)
    assert not alone
    assert await store.lanes.take(mine, len(ALL_GROUPS)) == frozenset()
    process.kill()
    await process.wait()
    assert await ended(store) == [worker]
    await store.workers.remove(worker)
    assert await store.lanes.take(mine, len(ALL_GROUPS)) == ALL_GROUPS


async def test_a_process_that_stands_still_keeps_what_its_lease_holds(
    store: PostgresStore, process: asyncio.subprocess.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GONE_AFTER", 0.0)
    worker = await number_of(process)
    await locked(store, worker)
    process.send_signal(signal.SIGSTOP)
    assert [await store.workers.end_expired(0) for _ in range(3)] == [[], [], []]


async def test_a_worker_whose_line_was_cut_takes_its_lock_again(url: str, store: PostgresStore) -> None:
    worker, _ = await store.workers.join(0, FAR)
    await locked(store, worker)
    other = await open_store(url)
    try:
        await store.database.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE classid = $1 AND objid = $2", presence.CLASS, worker
        )
        await locked(store, worker)
        assert await other.workers.end_expired(0) == []
        assert await store.workers.renew(worker, FAR) is not None
    finally:
        await other.close()


async def test_whoever_starts_after_all_were_killed_is_alone(
    store: PostgresStore, process: asyncio.subprocess.Process
) -> None:
    worker = await number_of(process)
    await locked(store, worker)
    process.kill()
    await process.wait()
    await locked(store, worker, so=False)
    _, alone = await store.workers.join(1, FAR)
    assert alone
