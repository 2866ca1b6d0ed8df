"""What the running service asks its store again and again costs the same however much lies there.

SQLite counts the cost itself, in steps of its virtual machine, so a busy machine changes nothing.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service.core.points import Point
from service.core.task import Status as S
from service.ports.queries import Idempotency, TaskQuery
from service.store import limits
from service.store.sqlite.store import SqliteStore, open_store
from tests.store.parts import DAY, NOW, a_subscription, a_task, added, finished, to

# Few are more than what any of them takes at once.
FEW, MANY = 2 * limits.CALLBACKS_AT_ONCE, 20 * limits.CALLBACKS_AT_ONCE
Question = Callable[[SqliteStore, int], Awaitable[object]]
LANE = "sub_of_the_dead"

QUESTIONS: dict[str, Question] = {
    "does anything wait": lambda store, worker: store.submits.waiting("piapi"),
    "take the next of what waits": lambda store, worker: store.submits.claim(worker, "piapi", 2, NOW),
    "take nothing, since the provider is full": lambda store, worker: store.submits.claim(worker, "piapi", 1, NOW),
    "which must be asked about": lambda store, worker: store.checks.claim("piapi", NOW, NOW + 2 * DAY, 50),
    "which, when all must": lambda store, worker: store.checks.claim("piapi", NOW + 2 * DAY, NOW + 3 * DAY, 50),
    "when must one be asked about": lambda store, worker: store.checks.next_due("piapi"),
    "which are too late": lambda store, worker: store.checks.overdue(NOW, 50),
    "which, when all are": lambda store, worker: store.checks.overdue(NOW + 2 * DAY, 50),
    "when is one too late": lambda store, worker: store.checks.next_deadline(),
    "which deliveries are due": lambda store, worker: store.queue.claim(worker, "sub_of_another", NOW, 8),
    "when is one of them due": lambda store, worker: store.queue.next_due(LANE),
    "which lanes have any": lambda store, worker: store.queue.lanes("", 100),
    "look at the next old tasks": lambda store, worker: store.retention.remove_tasks(NOW + 1, "", 10),
    "remove old calls, keys and pings": lambda store, worker: store.retention.remove_leftovers(NOW + 1, NOW + 1, 10),
    "remove calls, while the rest is young": lambda store, worker: store.retention.remove_leftovers(0, 0, 10),
    "look for old tasks, while all are young": lambda store, worker: store.retention.remove_tasks(0, "", 10),
    "move a task": lambda store, worker: store.tasks.change(
        Point.CALLBACK, store.database.db.execute("SELECT id FROM tasks").fetchone()[0], to(S.PROCESSING)
    ),
}

SEARCHES: list[dict[str, Any]] = [
    {"metadata": {"none": "1"}},
    {"metadata": {"all": "1"}},
    {"metadata": {"first": "1"}},
    {"metadata": {"all": "1", "first": "1"}},
    {"metadata": {"first": "1", "all": "1"}},
    {"metadata": {"all": "1"}, "provider": "modelslab"},
    {"metadata": {"all": "1"}, "status": "failed"},
    {"metadata": {"all": "1"}, "model": "none"},
    {"provider": "modelslab"},
    {"model": "none"},
    {"status": "failed"},
]


@pytest.fixture(scope="module")
def heaps(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file with little in it and one with ten times as much."""
    folder = tmp_path_factory.mktemp("heaps")

    async def make(file: Path, count: int) -> Path:
        store = await open_store(str(file))
        await fill(store, count)
        await store.close()
        return file

    return [asyncio.run(make(folder / f"{count}.db", count)) for count in (FEW, MANY)]


@pytest.mark.parametrize("name", QUESTIONS)
async def test_it_costs_the_same_beside_few_and_beside_many(name: str, heaps: list[Path], tmp_path: Path) -> None:
    few, many = [await cost_beside(heap, QUESTIONS[name], tmp_path) for heap in heaps]
    assert 0 < many < 1.1 * few + 10


async def cost_beside(heap: Path, question: Question, folder: Path) -> int:
    store = await open_store(str(shutil.copy(heap, folder)))
    try:
        return await steps(store, question)
    finally:
        await store.close()


async def fill(store: SqliteStore, count: int) -> None:
    """So many of everything: waiting, at the provider, finished, still to be delivered, pings, keys, calls."""
    subscription = a_subscription(id=LANE)
    await store.subscriptions.add(subscription)
    await store.deliveries.ping(0, subscription, NOW)
    open_one, _ = await store.tasks.add(a_task(), Idempotency("key", b"body"))
    worker, _ = await store.workers.join(NOW, NOW)
    await store.submits.claim(worker, "piapi", 1, NOW)
    await store.tasks.change(Point.SUBMIT_ANSWER, open_one.id, to(S.SUBMITTED, check_at=NOW + DAY))
    await finished(store)
    await added(store)
    db = store.database.db
    for table in ("tasks", "events", "deliveries", "idempotency"):
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        fresh = {"n": "NULL", "id": "id || numbers.value", "task_id": "task_id || numbers.value", "key": "key || value"}
        fresh["seq"] = "NULL" if table == "events" else "seq + value * 1000000"
        chosen = ", ".join(fresh.get(name, name) for name in columns)
        db.execute(
            f"WITH RECURSIVE numbers(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < {count})"
            f" INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {table}, numbers"
        )
    db.executemany(
        "INSERT INTO callbacks (n, at, provider, result, status_code) VALUES (?, 1, 'piapi', 'accepted', 200)",
        [(number,) for number in (*range(count), count + limits.KEPT_CALLBACKS)],
    )


@pytest.mark.parametrize("owner", [None, "alice"])
async def test_a_search_costs_the_same_when_there_are_ten_times_as_many_tasks(
    tmp_path: Path, owner: str | None
) -> None:
    store = await open_store(str(tmp_path / "test.db"))
    await added(store, metadata={"all": 1, "first": 1}, provider="modelslab")
    taken = []
    for count in (100, 1000):
        await asyncio.gather(*(added(store, metadata={"all": 1}) for _ in range(count)))
        queries = [TaskQuery(owner, limit=5, **terms) for terms in SEARCHES]
        taken.append([await steps(store, partial(found_by, query)) for query in queries])
    await store.close()
    assert all(taken[0])
    assert taken[0] == taken[1]


async def found_by(query: TaskQuery, store: SqliteStore, worker: int) -> object:
    return await store.tasks.find(query)


async def steps(store: SqliteStore, question: Question) -> int:
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    async def counted(handler: Callable[[], None] | None) -> None:
        store.database.db.set_progress_handler(handler, 1)
        async with AsyncExitStack() as stack:
            database = store.database
            pools = [pool for pool in (database.short_readers, database.long_readers) for _ in range(pool.count)]
            for pool in pools:
                reader = await stack.enter_async_context(pool.take())
                # A connection reads the schema at its first question.
                await reader.execute_fetchall("SELECT n FROM tasks LIMIT 1")
                await reader.set_progress_handler(handler, 1)  # type: ignore[arg-type]

    worker, _ = await store.workers.join(NOW, NOW)
    await counted(one_more)
    await question(store, worker)
    await counted(None)
    return count
