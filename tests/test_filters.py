"""Every filter of every list goes by an index: what does not match is not looked at, however much of it there is."""

import itertools
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from service.core.event import EVENT_TYPES
from service.ports.queries import DeliveryQuery, EventQuery, TaskQuery
from service.store.open import open_store
from service.store.postgres import delivery_search as postgres_deliveries
from service.store.postgres import event_search as postgres_events
from service.store.postgres import task_search as postgres_tasks
from service.store.postgres.store import PostgresStore
from service.store.sqlite.delivery_search import delivery_search
from service.store.sqlite.event_search import event_search
from service.store.sqlite.store import SqliteStore
from service.store.sqlite.task_search import search
from tests.servers import fresh_database

EVENTS = [
    EventQuery(owner, after=after, types=types, task_id=task_id, limit=50)
    for owner, types, task_id, after in itertools.product(
        (None, "alice", "carol"),
        (None, ("ping",), ("ping", "task.unconfirmed"), EVENT_TYPES),
        (None, "tsk_1"),
        (0, 4),
    )
]
DELIVERIES = [
    DeliveryQuery(owner, subscription_id, task_id, status, before, limit=50)
    for owner, subscription_id, task_id, status, before in itertools.product(
        (None, "alice", "carol"),
        (None, "sub_full", "sub_rare"),
        (None, "tsk_1"),
        (None, "pending", "delivered", "dead"),
        (None, 9000),
    )
]
# Of tasks PostgreSQL goes by one index, SQLite by all that there are.
TASKS = [
    TaskQuery(owner, status, provider, model, metadata, limit=50)
    for owner, status, provider, model, metadata in itertools.product(
        (None, "alice", "carol"),
        (None, "queued", "submitted", "completed", "failed", "canceled", "unconfirmed"),
        (None, "piapi", "modelslab"),
        (None, "rare"),
        ({}, {"rare": "1"}),
    )
]
# Many of the usual kind, before them one of each rare kind.
MANY = 20_000
# More than a page and the first rows of each list, less than the many.
MOST_ROWS = 1500
# A page takes 20,000 steps of the virtual machine at most, a look at each of the many ten times that.
STEPS, MOST_STEPS = 100, 250
SCAN = re.compile(r"SCAN (events|deliveries|tasks|d|e|t)\b")
FILL = (
    """
    INSERT INTO events (seq, id, type, owner, task_id, at, body)
    SELECT n, 'evt', CASE WHEN n > 3 THEN 'task.completed' ELSE 'ping' END,
        CASE WHEN n <= 2 THEN 'carol' WHEN n % 2 = 0 THEN 'bob' ELSE 'alice' END,
        CASE WHEN n > 3 THEN 'tsk_' || n / 4 END, n, ''
    FROM numbers
    """,
    """
    INSERT INTO deliveries (n, lane, subscription_id, owner, seq, event_id, event_type, task_id, url, status)
    SELECT n, CASE WHEN n = 1 THEN 'url:carol:x' WHEN n = 2 THEN 'sub_rare' ELSE 'sub_full' END,
        CASE WHEN n = 1 THEN NULL WHEN n = 2 THEN 'sub_rare' WHEN n % 2 = 0 THEN 'sub_of_bob' ELSE 'sub_full' END,
        CASE WHEN n = 1 THEN 'carol' WHEN n = 2 THEN 'alice' WHEN n % 2 = 0 THEN 'bob' ELSE 'alice' END,
        n, 'evt', 'ping', 'tsk_' || n / 4, 'x',
        CASE WHEN n <= 2 THEN 'pending' WHEN n = 3 OR n % 2 = 0 THEN 'dead' ELSE 'delivered' END
    FROM numbers
    """,
)
FILL_TASKS = """
    INSERT INTO tasks (id, owner, provider, model, status, state, created_at, deadline_at, finished_at)
    SELECT 'tsk_' || (1000000 + n), CASE WHEN n % 2 = 0 THEN 'bob' ELSE 'alice' END, 'piapi', 'usual', 'completed',
        '', n, n, n
    FROM numbers
    """


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await open_store(f"sqlite:///{tmp_path / 'test.db'}")
    assert isinstance(store, SqliteStore)
    for sql in FILL:
        numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY})"
        store.database.db.execute(f"{numbers} {sql}")
    yield store
    await store.close()


class Statement(NamedTuple):
    """`few`: the index of what waits, or is at a provider; what is in it is read and sorted."""

    sql: str
    values: Mapping[str, Any]
    few: str = ""


def sqlite_searches() -> Iterator[Statement]:
    for events in EVENTS:
        for newest_first in (False, True):
            yield Statement(*event_search(events, newest_first))
    for deliveries in DELIVERIES:
        found = delivery_search(deliveries)
        yield Statement(found.sql, found.values, "deliveries_queue" if deliveries.status == "pending" else "")
    for tasks in TASKS:
        of_tasks = search(tasks)
        few = "tasks_open" if tasks.status in ("submitted", "unconfirmed") else ""
        yield Statement(of_tasks.sql, of_tasks.values, few)


def test_no_filter_scans_or_sorts_a_table_of_sqlite(sqlite: SqliteStore) -> None:
    for sql, values, few in sqlite_searches():
        plan = [row[3] for row in sqlite.database.db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        scans = [step for step in plan if SCAN.match(step) and not (few and few in step)]
        sorts = [step for step in plan if "TEMP B-TREE" in step and not few]
        assert scans + sorts == [], (sql, plan)


async def test_what_does_not_match_costs_sqlite_nothing(sqlite: SqliteStore) -> None:
    """Counted in steps of its virtual machine."""
    db, costly = sqlite.database.db, []
    for sql, values, _ in sqlite_searches():
        count = 0

        def step() -> None:
            nonlocal count
            count += 1

        db.set_progress_handler(step, STEPS)
        db.execute(sql, values).fetchall()
        db.set_progress_handler(None, 0)
        if count > MOST_STEPS:
            costly.append((count, sql, values))
    assert costly == []


@pytest.fixture
async def postgres() -> AsyncIterator[PostgresStore]:
    store = await open_store(fresh_database())
    assert isinstance(store, PostgresStore)
    async with store.database.connection() as connection:
        for sql in (*FILL, FILL_TASKS):
            await connection.execute(f"WITH numbers AS (SELECT generate_series(1, {MANY}) AS n) {sql}")
        await connection.execute("ANALYZE")
    yield store
    await store.close()


def postgres_searches() -> Iterator[tuple[str, list[Any]]]:
    for events in EVENTS:
        for newest_first in (False, True):
            yield postgres_events.event_search(events, newest_first)
    for deliveries in DELIVERIES:
        yield postgres_deliveries.delivery_search(deliveries)
    for tasks in TASKS:
        yield postgres_tasks.search(tasks, tasks.limit)


async def test_what_does_not_match_costs_postgres_nothing(postgres: PostgresStore) -> None:
    costly = []
    async with postgres.database.connection() as connection:
        for sql, values in postgres_searches():
            found = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *values)
            rows = looked_at(orjson.loads(found)[0]["Plan"])
            if rows > MOST_ROWS:
                costly.append((rows, sql, values))
    assert costly == []


def looked_at(plan: dict[str, Any]) -> float:
    """Rows of tables and indexes that were read, also those that did not match."""
    rows = 0.0
    if "Relation Name" in plan or "Index Name" in plan:
        rows = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return rows + sum(map(looked_at, plan.get("Plans", ())))
