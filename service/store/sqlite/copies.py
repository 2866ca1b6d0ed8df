"""Copies of result files on SQLite: the rows are the queue, and `worker` is the claim."""

from collections.abc import Sequence

from msgspec.structs import replace

from service.core.copies import CopyCounts, FileCopy, StoredFile, copies_of, ended, to_be_copied
from service.core.points import Point
from service.core.result import Copy
from service.core.task import Task
from service.store.sqlite.copy_rows import add_copies
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.tasks import write_steps
from service.store.sqlite.unreadable import UnreadableRow
from service.store.sqlite.workers import SqliteWorkers

CLAIMED = "task_id, owner, position, url, kind, expires_at, created_at, attempts"
FREE = "SELECT min(owner) FROM copies WHERE status = 'pending' AND worker = 0"
# One step in the index for each owner, however many copies each has.
OWNERS_DUE = (
    f"WITH RECURSIVE found(owner) AS ({FREE} UNION ALL SELECT ({FREE} AND owner > found.owner) FROM found"
    " WHERE found.owner IS NOT NULL) SELECT owner FROM found WHERE owner IS NOT NULL AND EXISTS (SELECT 1 FROM copies c"
    " WHERE c.status = 'pending' AND c.worker = 0 AND c.owner = found.owner AND c.next_attempt_at <= ?)"
)
STORED = "SELECT name, content_type, bytes, sha256, inline_name FROM copies WHERE status = 'stored'"
# Only under the worker's claim: after losing it, a worker changes nothing.
CLAIMED_BY = "task_id = ? AND position = ? AND status = 'pending' AND worker = ?"


class SqliteCopies:
    """Implements `ports.copies.Copies`."""

    def __init__(self, database: SqliteDatabase, workers: SqliteWorkers) -> None:
        self.database = database
        self.workers = workers

    async def owners_due(self, now: int) -> list[str]:
        return [owner for (owner,) in await self.database.rows(OWNERS_DUE, (now,))]

    async def claim(self, worker: int, owner: str, now: int, limit: int) -> list[FileCopy]:
        def work() -> list[FileCopy]:
            if not self.workers.has_lease(worker):
                return []
            db = self.database.batch.written()
            rows = db.execute(
                f"SELECT {CLAIMED} FROM copies WHERE status = 'pending' AND worker = 0 AND owner = ?"
                " AND next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ?",
                (owner, now, limit),
            ).fetchall()
            db.executemany(
                "UPDATE copies SET worker = ? WHERE task_id = ? AND position = ?",
                [(worker, row[0], row[2]) for row in rows],
            )
            return [replace(FileCopy(*row), worker=worker) for row in rows]

        return await self.database.write(Point.CLAIM_COPIES, work)

    async def put_back(self, copy: FileCopy, next_attempt_at: int) -> None:
        def work() -> None:
            self.database.batch.written().execute(
                f"UPDATE copies SET worker = 0, attempts = ?, next_attempt_at = ? WHERE {CLAIMED_BY}",
                (copy.attempts, next_attempt_at, *_key(copy)),
            )

        await self.database.write(Point.PUT_BACK_COPY, work)

    async def finish(self, copy: FileCopy, how: Copy, file: StoredFile | None, now: int) -> bool:
        def work() -> bool:
            kept = (file.name, file.media_type, file.bytes, file.sha256, file.inline_name) if file else (None,) * 5
            done = self.database.batch.written().execute(
                "UPDATE copies SET worker = 0, url = '', status = ?, attempts = ?,"
                f" name = ?, content_type = ?, bytes = ?, sha256 = ?, inline_name = ? WHERE {CLAIMED_BY}",
                (how.status, copy.attempts, *kept, *_key(copy)),
            )
            found = self._task(copy.task_id)
            if not done.rowcount or found is None:
                return False
            n, task = found
            write_steps(self.database, n, task, ended(copy.position, how, now)(task))
            return True

        return await self.database.write(Point.CHANGE_COPIES, work)

    async def next_due(self) -> int | None:
        rows = await self.database.rows(
            "SELECT next_attempt_at FROM copies WHERE status = 'pending' AND worker = 0"
            " ORDER BY next_attempt_at LIMIT 1"
        )
        return rows[0][0] if rows else None

    async def stored(self, task_id: str, position: int) -> StoredFile | None:
        rows = await self.database.rows(f"{STORED} AND task_id = ? AND position = ?", (task_id, position))
        return StoredFile(*rows[0]) if rows else None

    async def stored_inline(self, inline_name: str) -> StoredFile | None:
        rows = await self.database.rows(f"{STORED} AND inline_name = ? LIMIT 1", (inline_name,))
        return StoredFile(*rows[0]) if rows else None

    async def counts(self) -> CopyCounts:
        return await counts_of(self.database)

    async def start(self, task_id: str, now: int) -> int:
        def work() -> int:
            found = self._task(task_id)
            if found is None:
                return 0
            n, task = found
            marked = to_be_copied(task, now)
            if marked is None:
                return 0
            write_steps(self.database, n, task, [(marked, None)])
            return add_copies(self.database.batch.written(), copies_of(marked))

        return await self.database.write(Point.CHANGE_COPIES, work)

    def _task(self, task_id: str) -> tuple[int, Task] | None:
        """None also for a task whose row is damaged."""
        try:
            return self.database.batch.task(task_id)
        except UnreadableRow:
            return None

    # --- removal ---

    async def waiting(self, limit: int) -> list[str]:
        rows = await self.database.rows("SELECT task_id FROM copy_removals ORDER BY n LIMIT ?", (limit,))
        return [task_id for (task_id,) in rows]

    async def done(self, task_ids: Sequence[str]) -> None:
        def work() -> None:
            self.database.batch.written().executemany(
                "DELETE FROM copy_removals WHERE task_id = ?", [(task_id,) for task_id in task_ids]
            )

        await self.database.write(Point.TIDY, work)


def _key(copy: FileCopy) -> tuple[str, int, int]:
    return copy.task_id, copy.position, copy.worker


async def counts_of(database: SqliteDatabase) -> CopyCounts:
    rows = await database.rows("SELECT count(*), min(created_at) FROM copies WHERE status = 'pending'")
    return CopyCounts(*rows[0])
