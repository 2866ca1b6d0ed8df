"""Large databases for cases 6, 7 and 11, made in bulk from rows that the service itself wrote."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.databases import BenchSqlite, Database
from bench.processes import free_port, send
from bench.run import BenchRun
from bench.tasks import ORDER, Pattern, metadata_of
from bench.world import BenchService, world
from service.core.times import now_ms

STEP = 50_000
DAY_MS = 24 * 3600 * 1000
# Finished tasks lie between yesterday and this many days before.
DAYS = 60


def backlog(run: BenchRun, count: int) -> Path:
    """A healthy subscriber, and half of `count` deliveries waiting for one that hangs and for one that is not there."""
    with world(run) as one:
        one.patient = False
        one.subscribe("/subscriber")
        sick = [one.subscribe("/hang"), one.subscribe("/gone", nobody_there())]
        one_task_finishes(one)
        # What waits is enough.
        for path in ("/subscriber", "/hang", "/gone"):
            one.hush(path)
    file, made = run.options.folder / "backlog.db", run.options.folder / "service" / "bench.db"
    BenchSqlite(made).settle()
    shutil.move(made, file)
    add_backlog(BenchSqlite(file, journal=False), sick, count, 1000)
    return file


def add_backlog(database: Database, sick: Sequence[str], count: int, first_number: int) -> None:
    """`count` deliveries wait for these subscriptions, which have one each already."""
    event = Pattern(database, "events", "type = 'task.completed'", body=b'{"type": "task.completed", "data": {}}')
    waiting = [Pattern(database, "deliveries", f"subscription_id = '{item}'") for item in sick]
    fresh = {"status": "pending", "tries": 0, "attempts": None, "next_attempt_at": now_ms(), "worker": 0}
    end = first_number + count // len(sick)
    for first in range(first_number, end, STEP):
        numbers = range(first, min(first + STEP, end))
        database.put([(event, (event.copy({}, **ids(number)) for number in numbers))])
        for place, pattern in enumerate(waiting):
            rows = (
                pattern.copy({}, **ids(number), n=number * len(sick) + place, event_id=event_id(number), **fresh)
                for number in numbers
            )
            database.put([(pattern, rows)])


def history(run: BenchRun, count: int) -> Path:
    """A folder with `count` finished tasks of the last sixty days, each with its last event and the delivery of it.

    One of a thousand has failed. Each has an order of its own, and the same shop.
    """
    folder = run.options.folder / "history"
    with world(run, folder=folder) as one:
        one.subscribe("/subscriber")
        one_task_finishes(one)
        one.hush("/subscriber")
        old = one.task_id(one.used)
    add_history(BenchSqlite(folder / "bench.db", journal=False), old, count)
    return folder


def add_history(database: Database, old: str, count: int) -> None:
    """`count` copies of the task `old`, which has finished and whose events were delivered."""
    task, event = Pattern(database, "tasks"), Pattern(database, "events", "type = 'task.completed'")
    delivery = Pattern(database, "deliveries", "event_type = 'task.completed'")
    metadata = metadata_of(database)
    start = now_ms() - (DAYS + 1) * DAY_MS
    for first in range(0, count, STEP):
        moments = [(n, start + n * DAYS * DAY_MS // count) for n in range(first, min(first + STEP, count))]
        database.put(
            [
                (task, (task.copy(words(old, n, at), **finished(n, at)) for n, at in moments)),
                (event, (event.copy(words(old, n, at), **happened(n, at)) for n, at in moments)),
                *((pattern, [pattern.copy(words(old, n, at)) for n, at in moments]) for pattern in metadata),
                (delivery, (delivery.copy({}, **told(n, at)) for n, at in moments)),
            ]
        )


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
    seq = 1000 + number
    return {"n": seq, "seq": seq, "event_id": event_id(number), "task_id": task_id(number, at)}


def nobody_there() -> str:
    return f"http://127.0.0.1:{free_port()}"


def one_task_finishes(one: BenchService) -> None:
    one.fill(1)
    for request in one.requests(one.used):
        send(one.port, request)
        one.acknowledged += 1
    one.drained("/subscriber")
