"""The store on SQLite keeps the contract of every store."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from service.core.errors import Unavailable
from service.core.points import Point
from service.core.task import Status
from service.ports.queries import TaskQuery
from service.store import limits
from service.store.sqlite import batch, migrate, open_tasks, submits, task_search
from service.store.sqlite.store import SqliteStore, open_store
from tests.conftest import PATIENCE
from tests.store.parts import DAY, NOW, TEXTS, added, finished, sent, to

# As SQLite writes them, and one that is longer than what is indexed of it.
ODD_TEXTS: dict[str, Any] = {
    "1.0": 1.0,
    "0.3": 0.1 + 0.2,
    "1.0e+300": 1e300,
    "1.0e-300": 1e-300,
    "1.84467440737096e+19": 2**64 - 1,
    '{"n":[1.5,null,true],"ключ":"a\\"b"}': {"n": [1.5, None, True], "ключ": 'a"b'},
    "x" * 1000 + "end": "x" * 1000 + "end",
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    one = await open_store(str(tmp_path / "test.db"))
    yield one
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


async def test_the_newest_calls_are_kept_whatever_came_before(store: SqliteStore) -> None:
    count = limits.KEPT_CALLBACKS + 3 * limits.CALLBACKS_AT_ONCE
    store.database.db.executemany(
        "INSERT INTO callbacks (n, at, provider, result, status_code) VALUES (?, 1, 'piapi', 'accepted', 200)",
        [(number,) for number in range(1, count + 1)],
    )
    while await store.retention.remove_leftovers(0, 0, 10):
        pass
    left = store.database.db.execute("SELECT count(*), max(n) FROM callbacks").fetchone()
    assert left == (limits.KEPT_CALLBACKS + limits.CALLBACKS_AT_ONCE, count)


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        (task_search.RARE + " AND owner = 'alice' AND status = 'failed'", "tasks_by_status"),
        (task_search.OPEN + " AND provider = 'piapi' AND check_at <= 1", "tasks_open"),
        (submits.WAITING + " AND provider = 'piapi' AND owner = 'alice'", "tasks_queue"),
        ("finished_at IS NULL AND deadline_at <= 1", "tasks_deadline"),
    ],
)
async def test_a_condition_of_the_queries_is_that_of_its_index(store: SqliteStore, condition: str, index: str) -> None:
    """In other words for the same, SQLite would look through all tasks."""
    plan = await store.database.rows(f"EXPLAIN QUERY PLAN SELECT state FROM tasks WHERE {condition}")
    assert f"INDEX {index} " in plan[0][-1]


@pytest.mark.parametrize("owner", [None, "alice"])
async def test_every_search_reads_ids_from_indexes_and_sorts_at_most_what_is_open(
    store: SqliteStore, owner: str | None
) -> None:
    for status, provider, model, metadata, before in itertools.product(
        (None, *Status), (None, "piapi"), (None, "x"), ({}, {"a": "1"}, {"a": "1", "b": "2"}), (None, "tsk_1")
    ):
        query = TaskQuery(owner, status, provider, model, metadata, before)
        steps = await plan_of(store, query)
        if status in (Status.UNCONFIRMED, Status.SUBMITTED, Status.PROCESSING):
            assert " t USING INDEX tasks_open" in steps[0], query
            continue
        assert [step for step in steps if not step.startswith("SEARCH ")] == [], query
        lists = {
            "task_metadata_by_value (owner=? AND key=? AND value=? AND task_id<?)": len(metadata),
            "tasks_by_provider (owner=? AND provider=? AND id<?)": provider is not None,
            "tasks_by_model (owner=? AND model=? AND id<?)": model is not None,
            "tasks_by_status (status=? AND owner=? AND id<?)": status not in (None, Status.COMPLETED),
        }
        for index, count in lists.items():
            assert sum(step.endswith(f" USING COVERING INDEX {index}") for step in steps) == count, query


async def plan_of(store: SqliteStore, query: TaskQuery) -> list[str]:
    """Its steps through tables."""
    sql, values, _ = task_search.search(query)
    rows = await store.database.rows(f"EXPLAIN QUERY PLAN {sql}", values)
    own = ("SCAN walk", "SCAN owners", "SCAN CONSTANT ROW")
    return [row[-1] for row in rows if row[-1].startswith(("SCAN ", "SEARCH ", "USE ")) and row[-1] not in own]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"metadata": {"a": "1"}}, False),
        ({"provider": "piapi"}, False),
        ({"status": "failed"}, False),
        ({"status": "completed"}, True),
        ({"metadata": {"a": "1", "b": "2"}}, True),
        ({"metadata": {"a": "1"}, "provider": "piapi"}, True),
        ({"metadata": {"a": "x" * 200}}, True),
        ({"metadata": {"x" * 200: "a"}}, True),
    ],
)
def test_a_search_that_may_look_at_very_many_says_so(terms: dict[str, Any], expected: bool) -> None:
    assert task_search.search(TaskQuery("alice", **terms)).may_be_long is expected


async def test_tasks_from_before_their_metadata_had_a_table_are_found_like_new_ones(
    store: SqliteStore, tmp_path: Path
) -> None:
    alike = {"x" * 1000 + end: 1 for end in "ab"}
    texts = TEXTS | ODD_TEXTS
    ids = [(await added(store, metadata=alike | {"k": kept, "all": 1})).id for kept in texts.values()]
    columns = "n, id, owner, provider, model, status, state, created_at, finished_at, sent_at, check_at, deadline_at"
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as db:
        for file in sorted(migrate.SQL.glob("000[1-3]*.sql")):
            db.executescript(file.read_text())
        db.executescript(
            f"PRAGMA user_version = 3; ATTACH '{tmp_path}/test.db' AS new;"
            f" INSERT INTO tasks SELECT {columns} FROM new.tasks"
        )
    old = await open_store(str(tmp_path / "old.db"))
    queries = [TaskQuery("alice", metadata={"all": "1", "k": text}) for text in texts]
    found = [[[task.id for task in await one.tasks.find(query)] for query in queries] for one in (store, old)]
    await old.close()
    assert found == [[[task_id] for task_id in ids]] * 2


async def test_a_move_writes_nothing_that_metadata_provider_or_model_are_found_by(store: SqliteStore) -> None:
    trees = dict(await store.database.rows("SELECT rootpage, name FROM sqlite_schema"))
    steps = await store.database.rows(f"EXPLAIN {batch.CHANGED}", [None] * 8)
    written = {trees[step[3]] for step in steps if step[1] == "OpenWrite"}
    assert written == {
        "tasks",
        "tasks_by_status",
        "tasks_queue",
        "tasks_open",
        "tasks_unconfirmed",
        "tasks_deadline",
        "tasks_lingering",
    }


async def test_a_task_and_its_metadata_are_stored_together_or_not_at_all(store: SqliteStore) -> None:
    store.database.db.execute("DROP TABLE task_metadata")
    with pytest.raises(Unavailable):
        await added(store, metadata={"order": "A-17"})
    assert await store.database.rows("SELECT id FROM tasks") == []


async def test_metadata_goes_with_its_task_in_each_step_of_removing(store: SqliteStore) -> None:
    await finished(store, NOW + DAY, metadata={"order": "A-17"})
    for _ in range(5):
        await finished(store, metadata={"order": "A-17", "long": "x" * 1000, "n": 1})
    last: str | None = ""
    # The young one is looked at too.
    for left in (5, 3, 1):
        last = await store.retention.remove_tasks(NOW + 1, last or "", 2)
        ids = await store.database.rows("SELECT id FROM tasks ORDER BY id")
        assert len(ids) == left
        assert await store.database.rows("SELECT DISTINCT task_id FROM task_metadata ORDER BY task_id") == ids


async def test_the_log_is_copied_back_beside_the_writer(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "test.db"))
    # The writer's own last resort would do it too, much later.
    store.database.db.execute("PRAGMA wal_autocheckpoint = 0")
    before = (tmp_path / "test.db").stat().st_size
    async with asyncio.timeout(PATIENCE):
        while (tmp_path / "test.db").stat().st_size == before:
            await asyncio.gather(*(sent(store) for _ in range(50)))
    await store.close()
