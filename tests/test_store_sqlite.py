"""The store on SQLite keeps the contract of every store."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.core.points import Point
from service.core.task import Status
from service.store import calls, open_tasks, tasks
from service.store.sqlite import SqliteStore, open_store
from tests.conftest import PATIENCE
from tests.store_contract import AfterACrash, StoreContract, sent, to


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        one = await open_store(str(tmp_path / "test.db"))
        yield one
        await one.close()

    @pytest.fixture
    async def after_a_crash(self, store: SqliteStore, tmp_path: Path) -> AsyncIterator[AfterACrash]:
        """What a kill would leave at this moment: the file and its log, copied from under the running store."""
        opened: list[SqliteStore] = []

        async def reopen() -> SqliteStore:
            for suffix in ("", "-wal"):
                shutil.copy(tmp_path / f"test.db{suffix}", tmp_path / f"crashed.db{suffix}")
            opened.append(await open_store(str(tmp_path / "crashed.db")))
            return opened[-1]

        yield reopen
        for one in opened:
            await one.close()


async def test_only_its_owner_may_read_the_file_since_it_holds_secrets(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "test.db"))
    await store.close()
    assert (tmp_path / "test.db").stat().st_mode & 0o077 == 0


async def test_only_the_newest_open_tasks_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_tasks, "KEPT", 2)
    store = await open_store(str(tmp_path / "test.db"))
    tasks = [await sent(store) for _ in range(5)]
    await sent(store, input={"prompt": "x" * open_tasks.LARGEST})
    await store.tasks.change(Point.CALLBACK, tasks[4].id, to(Status.COMPLETED))
    assert list(store.database.batch._open._tasks) == [tasks[3].id]
    await store.close()


async def test_the_newest_calls_are_kept_whatever_came_before(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "test.db"))
    count = calls.KEPT + 3 * calls.AT_ONCE
    store.database.db.executemany(
        "INSERT INTO callbacks (n, at, provider, result, status_code) VALUES (?, 1, 'piapi', 'accepted', 200)",
        [(number,) for number in range(1, count + 1)],
    )
    while await store.remove_rest(0, 0, 10):
        pass
    left = store.database.db.execute("SELECT count(*), max(n) FROM callbacks").fetchone()
    assert left == (calls.KEPT + calls.AT_ONCE, count)
    await store.close()


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        (tasks.RARE + " AND owner = 'alice' AND status = 'failed'", "tasks_by_status"),
        (tasks.OPEN + " AND provider = 'piapi' AND check_at <= 1", "tasks_open"),
        (tasks.WAITING + " AND provider = 'piapi' AND owner = 'alice'", "tasks_queue"),
    ],
)
async def test_a_condition_of_the_queries_is_that_of_its_index(tmp_path: Path, condition: str, index: str) -> None:
    """In other words for the same, SQLite would look through all tasks."""
    store = await open_store(str(tmp_path / "test.db"))
    plan = await store.database.rows(f"EXPLAIN QUERY PLAN SELECT state FROM tasks WHERE {condition}")
    assert f"INDEX {index} " in plan[0][-1]
    await store.close()


async def test_the_log_is_copied_back_beside_the_writer(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "test.db"))
    # The writer's own last resort would do it too, much later.
    store.database.db.execute("PRAGMA wal_autocheckpoint = 0")
    before = (tmp_path / "test.db").stat().st_size
    async with asyncio.timeout(PATIENCE):
        while (tmp_path / "test.db").stat().st_size == before:
            await asyncio.gather(*(sent(store) for _ in range(50)))
    await store.close()
