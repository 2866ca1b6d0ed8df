"""Large databases for cases 6 and 7, made in bulk from rows that the service itself wrote."""

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.processes import free_port, send
from bench.run import Run
from bench.tasks import ORDER, Pattern, metadata_of
from bench.world import World, world
from service.core.times import now_ms

STEP = 50_000
DAY_MS = 24 * 3600 * 1000
# Finished tasks lie between yesterday and this many days before.
DAYS = 60


def backlog(run: Run, count: int) -> Path:
    """A healthy subscriber, and half of `count` deliveries waiting for one that hangs and for one that is not there."""
    with world(run) as one:
        one.patient = False
        one.subscribe("/subscriber")
        sick = [one.subscribe("/hang"), one.subscribe("/gone", f"http://127.0.0.1:{free_port()}")]
        one_task_finishes(one)
        # What waits is enough.
        for path in ("/subscriber", "/hang", "/gone"):
            one.hush(path)
    file = run.options.folder / "backlog.db"
    shutil.move(folded(run.options.folder / "service" / "bench.db"), file)
    event = Pattern(file, "events", "type = 'task.completed'", body=b'{"type": "task.completed", "data": {}}')
    waiting = [Pattern(file, "deliveries", f"subscription_id = '{item}'") for item in sick]
    fresh = {"status": "pending", "tries": 0, "attempts": None, "next_attempt_at": now_ms(), "lease_until": 0}
    with closing(bulk(file)) as db:
        for first in range(1000, 1000 + count // 2, STEP):
            numbers = range(first, min(first + STEP, 1000 + count // 2))
            put(db, event, (event.copy({}, **ids(number)) for number in numbers))
            for pattern in waiting:
                put(
                    db,
                    pattern,
                    (pattern.copy({}, **ids(number), event_id=event_id(number), **fresh) for number in numbers),
                )
    return file


def history(run: Run, count: int) -> Path:
    """A folder with `count` finished tasks of the last sixty days, each with its last event and the delivery of it.

    One of a thousand has failed. Each has an order of its own, and the same shop.
    """
    folder = run.options.folder / "history"
    with world(run, folder=folder) as one:
        one.subscribe("/subscriber")
        one_task_finishes(one)
        one.hush("/subscriber")
        old = one.task_id(one.used)
    file = folded(folder / "bench.db")
    task, event = Pattern(file, "tasks"), Pattern(file, "events", "type = 'task.completed'")
    delivery = Pattern(file, "deliveries", "event_type = 'task.completed'")
    metadata = metadata_of(file)
    start = now_ms() - (DAYS + 1) * DAY_MS
    with closing(bulk(file)) as db:
        for first in range(0, count, STEP):
            moments = [(n, start + n * DAYS * DAY_MS // count) for n in range(first, min(first + STEP, count))]
            put(db, task, (task.copy(words(old, n, at), **finished(n, at)) for n, at in moments))
            put(db, event, (event.copy(words(old, n, at), **happened(n, at)) for n, at in moments))
            for pattern in metadata:
                put(db, pattern, (pattern.copy(words(old, n, at)) for n, at in moments))
            put(db, delivery, (delivery.copy({}, **told(n, at)) for n, at in moments))
    return folder


def task_id(number: int, at: int) -> str:
    return f"tsk_{at:012x}{0:04x}{number:016x}"


def words(old: str, number: int, at: int) -> dict[str, str]:
    return {old: task_id(number, at), ORDER: f"A-{number}"}


def event_id(number: int) -> str:
    return f"evt_{number:032x}"


def ids(number: int) -> dict[str, Any]:
    return {"seq": number, "id": event_id(number), "task_id": f"tsk_{number:032x}"}


def finished(number: int, at: int) -> dict[str, Any]:
    status = "completed" if number % 1000 else "failed"
    return {"status": status, "created_at": at, "finished_at": at, "deadline_at": at + DAY_MS}


def happened(number: int, at: int) -> dict[str, Any]:
    return {"seq": 1000 + number, "id": event_id(number), "at": at}


def told(number: int, at: int) -> dict[str, Any]:
    return {"seq": 1000 + number, "event_id": event_id(number), "task_id": task_id(number, at)}


def one_task_finishes(one: World) -> None:
    one.fill(1)
    for request in one.requests(one.used):
        send(one.port, request)
        one.acknowledged += 1
    one.drained("/subscriber")


def folded(file: Path) -> Path:
    """With its write-ahead log in it."""
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


def bulk(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file)
    # It can be made again: no journal, no waiting.
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    return db


def put(db: sqlite3.Connection, pattern: Pattern, rows: Iterable[tuple[Any, ...]]) -> None:
    db.executemany(pattern.insert, rows)
    db.commit()
