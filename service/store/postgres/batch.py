"""The rows of one transaction: locked and read together, decided in memory, written together.

Locks are always taken in one order: tasks by id, idempotency keys by name, deliveries, and last the counters.
"""

from collections.abc import Sequence
from typing import Any

from service.core.copies import FileCopy, StoredFile
from service.core.outbox import Announcement
from service.core.result import Copy
from service.core.task import Task
from service.ports.queries import Idempotency
from service.store.postgres.connection import Connection
from service.store.postgres.metadata import metadata_rows
from service.store.postgres.rows import changed_task, columns, decode_task, new_task
from service.store.refusals import key_reused

Key = tuple[str, str]

ADD_TASKS = (
    "INSERT INTO tasks (id, owner, provider, model, status, state, created_at, finished_at, sent_at, check_at,"
    " deadline_at, place_until) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],"
    " $6::bytea[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])"
)
CHANGE_TASKS = (
    "UPDATE tasks SET status = c.status, state = c.state, finished_at = c.finished_at, sent_at = c.sent_at,"
    " check_at = c.check_at, deadline_at = c.deadline_at, place_until = c.place_until"
    " FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],"
    " $8::bigint[]) AS c(id, status, state, finished_at, sent_at, check_at, deadline_at, place_until)"
    " WHERE tasks.id = c.id"
)
ADD_METADATA = (
    "INSERT INTO task_metadata (task_id, owner, key, value)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING"
)
ADD_CALLBACKS = (
    "INSERT INTO callbacks (at, provider, task_id, result, status_code, detail, body) SELECT * FROM"
    " unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[], $7::text[])"
)
# Only under the worker's claim: after losing it, a worker changes nothing.
RECORD = (
    "UPDATE deliveries d SET status = o.status, tries = o.tries, attempts = o.attempts,"
    " next_attempt_at = o.next_attempt_at, worker = 0"
    " FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[], $5::bytea[], $6::bigint[])"
    " AS o(n, worker, status, tries, attempts, next_attempt_at) WHERE d.n = o.n AND d.worker = o.worker"
)
ADD_COPIES = (
    "INSERT INTO copies (task_id, owner, position, url, kind, expires_at, created_at, next_attempt_at) SELECT * FROM"
    " unnest($1::text[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[])"
)
LOCK_COPIES = (
    "SELECT c.task_id, c.position FROM copies c"
    " JOIN unnest($1::text[], $2::integer[], $3::bigint[]) AS w(task_id, position, worker)"
    " ON c.task_id = w.task_id AND c.position = w.position AND c.worker = w.worker"
    " WHERE c.status = 'pending' ORDER BY c.task_id, c.position FOR UPDATE OF c"
)
END_COPIES = (
    "UPDATE copies c SET worker = 0, url = '', status = e.status, attempts = e.attempts, name = e.name,"
    " content_type = e.content_type, bytes = e.bytes, sha256 = e.sha256, inline_name = e.inline_name"
    " FROM unnest($1::text[], $2::integer[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::bigint[],"
    " $8::text[], $9::text[])"
    " AS e(task_id, position, status, attempts, name, content_type, bytes, sha256, inline_name)"
    " WHERE c.task_id = e.task_id AND c.position = e.position"
)
TAKE_KEYS = (
    "INSERT INTO idempotency (owner, key, fingerprint, task_id, created_at)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::bigint[]) ON CONFLICT DO NOTHING"
)
READ_KEYS = (
    "SELECT i.owner, i.key, i.fingerprint, i.task_id, t.state FROM idempotency i"
    " JOIN unnest($1::text[], $2::text[]) AS w(owner, key) ON i.owner = w.owner AND i.key = w.key"
    " LEFT JOIN tasks t ON t.id = i.task_id"
)
RETAKE_KEY = "UPDATE idempotency SET fingerprint = $3, task_id = $4, created_at = $5 WHERE owner = $1 AND key = $2"


class PostgresBatch:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tasks: dict[str, Task] = {}
        self._keys: dict[Key, tuple[bytes, str]] = {}
        self._changed: dict[str, Task] = {}
        self._added: dict[str, Task] = {}
        self._callbacks: list[tuple[Any, ...]] = []
        self._outcomes: list[tuple[Any, ...]] = []
        self._claimed_copies: set[tuple[str, int]] = set()
        self._copies: list[tuple[Any, ...]] = []
        self._ended_copies: list[tuple[Any, ...]] = []
        self.announcements: list[Announcement] = []

    # --- reading ---

    async def lock(
        self,
        task_ids: Sequence[str],
        keys: Sequence[tuple[str, Idempotency, str, int]],
        copies: Sequence[FileCopy] = (),
    ) -> None:
        if task_ids:
            rows = await self._connection.fetch(
                "SELECT id, state FROM tasks WHERE id = ANY($1) ORDER BY id FOR UPDATE", list(set(task_ids))
            )
            self._tasks = {row["id"]: decode_task(row["state"]) for row in rows}
        if keys:
            await self._take_keys(keys)
        if copies:
            wanted = [(copy.task_id, copy.position, copy.worker) for copy in copies]
            self._claimed_copies = {tuple(row) for row in await self._connection.fetch(LOCK_COPIES, *columns(wanted))}

    async def _take_keys(self, keys: Sequence[tuple[str, Idempotency, str, int]]) -> None:
        """The first request with a key takes it; another one at the same time waits here for its commit."""
        rows = sorted((owner, one.key, one.fingerprint, task_id, at) for owner, one, task_id, at in keys)
        await self._connection.execute(TAKE_KEYS, *columns(rows))
        found = await self._connection.fetch(READ_KEYS, *columns([row[:2] for row in rows]))
        ours = {row[3]: row for row in rows}
        for row in found:
            key, task_id = (row["owner"], row["key"]), row["task_id"]
            if row["state"] is not None:
                self._tasks[task_id] = decode_task(row["state"])
            elif task_id not in ours:
                # The task was removed after RETENTION_DAYS, and its key with it.
                first = next(mine for mine in rows if mine[:2] == key)
                await self._connection.execute(RETAKE_KEY, *first)
                self._keys[key] = first[2], first[3]
                continue
            self._keys[key] = row["fingerprint"], task_id

    def task(self, task_id: str) -> Task | None:
        """The task as changed in this transaction so far."""
        return self._tasks.get(task_id)

    def take_claim(self, copy: FileCopy) -> bool:
        """Whether the claim still stands; true only once, since the copy ends with it."""
        key = copy.task_id, copy.position
        if key not in self._claimed_copies:
            return False
        self._claimed_copies.discard(key)
        return True

    def first_with(self, task: Task, idempotency: Idempotency) -> Task | None:
        """The task that already has the key. Raises IdempotencyMismatch."""
        fingerprint, task_id = self._keys[task.owner, idempotency.key]
        if fingerprint != idempotency.fingerprint:
            raise key_reused()
        return None if task_id == task.id else self._tasks.get(task_id)

    # --- gathering ---

    def put(
        self,
        moved: Task | None,
        added: Task | None,
        callback: tuple[Any, ...] | None,
        outcomes: Sequence[tuple[Any, ...]],
        announcements: Sequence[Announcement],
    ) -> None:
        if added is not None:
            self._tasks[added.id] = self._added[added.id] = added
        if moved is not None:
            self._tasks[moved.id] = moved
            (self._added if moved.id in self._added else self._changed)[moved.id] = moved
        if callback is not None:
            self._callbacks.append(callback)
        self._outcomes += outcomes
        self.announcements += announcements

    def put_copies(self, copies: Sequence[FileCopy], ended: Sequence[tuple[Any, ...]]) -> None:
        self._copies += [
            (c.task_id, c.owner, c.position, c.url, c.kind, c.expires_at, c.created_at, c.created_at) for c in copies
        ]
        self._ended_copies += ended

    # --- writing ---

    async def write(self) -> None:
        metadata = [row for task in self._added.values() for row in metadata_rows(task)]
        for statement, rows in (
            (ADD_TASKS, [new_task(task) for task in self._added.values()]),
            (ADD_METADATA, metadata),
            (CHANGE_TASKS, [changed_task(task) for task in self._changed.values()]),
            (ADD_CALLBACKS, self._callbacks),
            (ADD_COPIES, self._copies),
            (END_COPIES, self._ended_copies),
            (RECORD, sorted(self._outcomes)),
        ):
            if rows:
                await self._connection.execute(statement, *columns(rows))


def ended_row(copy: FileCopy, how: Copy, file: StoredFile | None) -> tuple[Any, ...]:
    kept = (file.name, file.media_type, file.bytes, file.sha256, file.inline_name) if file else (None,) * 5
    return copy.task_id, copy.position, how.status, copy.attempts, *kept
