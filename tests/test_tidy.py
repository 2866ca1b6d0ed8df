"""Removing what is old, on a real store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.core.times import now_ms
from service.ports.queries import Idempotency, TaskQuery
from service.store import limits
from service.store.sqlite.store import SqliteStore, open_store
from service.workers.retention import KEYS_KEPT_MS, Tidier
from tests.store.parts import DAY, a_task, finished

DAYS = 30.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    one = await open_store(str(tmp_path / "test.db"))
    yield one
    await one.close()


async def test_all_that_is_old_is_removed_and_nothing_else(store: SqliteStore) -> None:
    now = now_ms()
    for age in (31, 40):
        for _ in range(store.retention.step):
            await finished(store, now - age * DAY, created_at=now - age * DAY)
    young = await finished(store, now - 29 * DAY, created_at=now - 29 * DAY)
    await store.tasks.add(a_task(created_at=now - KEYS_KEPT_MS - DAY), Idempotency("old", b"body"))
    await store.tasks.add(a_task(created_at=now), Idempotency("new", b"body"))
    store.database.db.execute(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
        " INSERT INTO callbacks (at, provider, result, status_code) SELECT 1, 'piapi', 'accepted', 200 FROM numbers",
        (limits.KEPT_CALLBACKS + limits.CALLBACKS_AT_ONCE + 1,),
    )
    told: list[float] = []

    async def tell(seconds: float) -> None:
        told.append(seconds)

    tidier = Tidier(store, DAYS, tell)
    await asyncio.gather(tidier.old_tasks(), tidier.leftovers())

    left = await store.tasks.find(TaskQuery(None))
    assert (len(left), young in left) == (3, True)
    assert store.database.db.execute("SELECT key FROM idempotency").fetchall() == [("new",)]
    assert store.database.db.execute("SELECT min(n) FROM callbacks").fetchone() == (limits.CALLBACKS_AT_ONCE + 1,)
    assert told == [pytest.approx(DAYS * 86_400, abs=1)]
