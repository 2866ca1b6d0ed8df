"""Tasks that wait at the provider, as rows for the database, with the addresses under which they are called about."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.calls import ID, PROMPT, provider_id
from service.core.ids import new_id
from service.core.task import Status, Task
from service.core.times import now_ms
from service.store.sqlite.store import open_store
from service.wire.tokens import CallbackToken, Tokens

SECRET_KEY = "the-secret-key-of-the-benchmark-32-characters"
OWNER = "bench"
DAY_MS = 24 * 3600 * 1000
ORDER = "A-17"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows of tasks, in each table one for each, and the file from which the load generator makes their callbacks."""

    tables: list[tuple[str, list[tuple[Any, ...]]]]
    ids: list[str]
    file: Path


def prepare(count: int, file: Path) -> Prepared:
    """`count` tasks that PiAPI has accepted; each can take two callbacks that move it."""
    now = now_ms()
    tokens = Tokens((SECRET_KEY,))
    task = a_task(now)
    database = stored(task, file.with_name("pattern.db"))
    patterns = [Pattern(database, "tasks", sent_at=now), *metadata_of(database)]
    words: list[dict[str, str]] = []
    lines: list[str] = []
    ids: list[str] = []
    for number in range(count):
        task_id = new_id("tsk")
        ids.append(task_id)
        token = CallbackToken("piapi", task_id, 1)
        path = f"/webhooks/piapi/{tokens.callback(token)}"
        lines.append(f"{path} {tokens.callback_secret(token)} {provider_id(number)}")
        words.append({task.id: task_id, ID: provider_id(number)})
    file.write_text("\n".join(lines))
    return Prepared([(row.insert, [row.copy(item) for item in words]) for row in patterns], ids, file)


class Pattern:
    """A row that the store itself wrote, to be copied with other values: whatever its columns are."""

    def __init__(self, database: Path, table: str, where: str = "1", **changed: Any) -> None:
        """The last such row, without its number. Names that are no columns are passed over, here and below."""
        with closing(sqlite3.connect(database)) as db:
            found = db.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY 1 DESC LIMIT 1")
            columns = dict(zip([item[0] for item in found.description], found.fetchone(), strict=True))
        columns.pop("n", None)
        self.columns = columns | {name: value for name, value in changed.items() if name in columns}
        self.insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"

    def copy(self, words: dict[str, str], **values: Any) -> tuple[Any, ...]:
        """`words` are replaced in every text, `values` are whole columns."""
        return tuple(values[name] if name in values else replaced(value, words) for name, value in self.columns.items())


def metadata_of(database: Path) -> list[Pattern]:
    """What the last task is found by: its own order, and the shop of all of them."""
    return [Pattern(database, "task_metadata", f"key = '{key}'") for key in ("order", "shop")]


def replaced(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in words.items():
            value = value.replace(old, new)
    elif isinstance(value, bytes):
        for old, new in words.items():
            value = value.replace(old.encode(), new.encode())
    return value


def stored(task: Task, database: Path) -> Path:
    """A fresh database with this one task in it."""
    for old in database.parent.glob(database.name + "*"):
        old.unlink()

    async def add() -> None:
        store = await open_store(str(database))
        try:
            await store.tasks.add(task, None)
        finally:
            await store.close()

    asyncio.run(add())
    return database


def a_task(now: int) -> Task:
    task_id = new_id("tsk")
    return Task(
        id=task_id,
        owner=OWNER,
        provider="piapi",
        model="Qubico/flux1-schnell",
        task_type="txt2img",
        input={"prompt": PROMPT * 4, "width": 1024, "height": 1024},
        metadata={"order": ORDER, "shop": "north"},
        status=Status.SUBMITTED,
        provider_task_id=ID,
        provider_status="pending",
        attempts=1,
        created_at=now,
        updated_at=now,
        submitted_at=now,
        sent_at=now,
        deadline_at=now + DAY_MS,
        links={"self": f"/v1/tasks/{task_id}", "events": f"/v1/tasks/{task_id}/events"},
    )
