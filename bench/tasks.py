"""Tasks that wait at the provider, as rows for the database, with the addresses under which they are called about."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.calls import ID, PROMPT, provider_id
from bench.databases import Database, Values
from service.core.ids import new_id
from service.core.task import Status, Task
from service.core.times import now_ms
from service.store.open import open_store
from service.wire.tokens import CallbackToken, Tokens

SECRET_KEY = "the-secret-key-of-the-benchmark-32-characters"
OWNER = "bench"
DAY_MS = 24 * 3600 * 1000
ORDER = "A-17"


@dataclass(frozen=True, slots=True)
class PreparedTasks:
    """Copies of `task`, each with words of its own, and the file from which the load generator makes callbacks."""

    task: Task
    words: list[dict[str, str]]
    ids: list[str]
    file: Path
    _tables: dict[type, "list[tuple[Pattern, list[Values]]]"] = field(default_factory=dict)

    def tables(self, database: Database) -> "list[tuple[Pattern, list[Values]]]":
        """Rows of the tasks, in each table one for each. Made once for each kind of database."""
        kind = type(database)
        if kind not in self._tables:
            scratch = database.fresh("pattern")
            store_task(self.task, scratch)
            patterns = [Pattern(scratch, "tasks", sent_at=self.task.sent_at), *metadata_of(scratch)]
            self._tables[kind] = [(row, [row.copy(item) for item in self.words]) for row in patterns]
        return self._tables[kind]


def prepare(count: int, file: Path) -> PreparedTasks:
    """`count` tasks that PiAPI has accepted; each can take two callbacks that move it."""
    now = now_ms()
    tokens = Tokens((SECRET_KEY,))
    task = a_task(now)
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
    return PreparedTasks(task, words, ids, file)


class Pattern:
    """A row that the store itself wrote, to be copied with other values: whatever its columns are."""

    def __init__(self, database: Database, table: str, where: str = "true", **changed: Any) -> None:
        """The last such row. Names that are no columns are passed over, here and below."""
        self.name = table
        columns = database.last_row(table, where)
        self.columns = columns | {name: value for name, value in changed.items() if name in columns}

    def copy(self, words: dict[str, str], **values: Any) -> Values:
        """`words` are replaced in every text, `values` are whole columns."""
        return tuple(values[name] if name in values else replaced(value, words) for name, value in self.columns.items())


def metadata_of(database: Database) -> list[Pattern]:
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


def store_task(task: Task, database: Database) -> None:
    async def add() -> None:
        store = await open_store(database.url)
        try:
            await store.tasks.add(task, None)
        finally:
            await store.close()

    asyncio.run(add())


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
