"""Copies of result files on PostgreSQL: the rows are the queue, and `worker` is the claim."""

from collections.abc import Sequence

from service.core.copies import CopyCounts, FileCopy, StoredFile, copies_of, ended, to_be_copied
from service.core.outbox import announcements
from service.core.points import Point
from service.core.result import Copy
from service.store.postgres.batch import PostgresBatch, ended_row
from service.store.postgres.connection import Connection
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.job import Change, Job
from service.store.postgres.workers import hold_lease
from service.store.postgres.writer import PostgresWriter

CLAIM = (
    "WITH due AS (SELECT task_id, position FROM copies WHERE status = 'pending' AND worker = 0"
    " AND owner = $4 AND next_attempt_at <= $2 ORDER BY next_attempt_at LIMIT $3 FOR UPDATE SKIP LOCKED),"
    " c AS (UPDATE copies SET worker = $1 FROM due"
    " WHERE copies.task_id = due.task_id AND copies.position = due.position RETURNING copies.*)"
    " SELECT task_id, owner, position, url, kind, expires_at, created_at, attempts, worker FROM c"
    " ORDER BY next_attempt_at, task_id, position"
)
FREE = "SELECT min(owner) FROM copies WHERE status = 'pending' AND worker = 0"
# One step in the index for each owner, however many copies each has.
OWNERS_DUE = (
    f"WITH RECURSIVE found(owner) AS ({FREE} UNION ALL SELECT ({FREE} AND owner > found.owner) FROM found"
    " WHERE found.owner IS NOT NULL) SELECT owner FROM found WHERE owner IS NOT NULL AND EXISTS (SELECT 1 FROM copies c"
    " WHERE c.status = 'pending' AND c.worker = 0 AND c.owner = found.owner AND c.next_attempt_at <= $1)"
)
STORED = "SELECT name, content_type, bytes, sha256, inline_name FROM copies WHERE status = 'stored'"


class PostgresCopies:
    """Implements `ports.copies.Copies`."""

    def __init__(self, database: PostgresDatabase, writer: PostgresWriter) -> None:
        self.database = database
        self.writer = writer

    async def owners_due(self, now: int) -> list[str]:
        return [row["owner"] for row in await self.database.rows(OWNERS_DUE, now)]

    async def claim(self, worker: int, owner: str, now: int, limit: int) -> list[FileCopy]:
        # If a crash of the server undoes this, a file may be copied twice, under one name.
        async with self.database.transaction(Point.CLAIM_COPIES, durable=False) as unit:
            if not await hold_lease(unit, worker):
                return []
            rows = await unit.connection.fetch(CLAIM, worker, now, limit, owner)
        return [FileCopy(*row) for row in rows]

    async def put_back(self, copy: FileCopy, next_attempt_at: int) -> None:
        await self.database.write(
            Point.PUT_BACK_COPY,
            "UPDATE copies SET worker = 0, attempts = $4, next_attempt_at = $5"
            " WHERE task_id = $1 AND position = $2 AND status = 'pending' AND worker = $3",
            *(copy.task_id, copy.position, copy.worker, copy.attempts, next_attempt_at),
        )

    async def finish(self, copy: FileCopy, how: Copy, file: StoredFile | None, now: int) -> bool:
        def work(batch: PostgresBatch) -> Change[bool]:
            task = batch.task(copy.task_id)
            if task is None or not batch.take_claim(copy):
                return Change(False)
            [(after, told)] = ended(copy.position, how, now)(task)
            row = ended_row(copy, how, file)
            return Change(True, moved=after, announcements=announcements([(after, told)]), ended_copies=[row])

        return await self.writer.do(Job(Point.CHANGE_COPIES, work, task_id=copy.task_id, copy=copy))

    async def next_due(self) -> int | None:
        rows = await self.database.rows(
            "SELECT next_attempt_at FROM copies WHERE status = 'pending' AND worker = 0"
            " ORDER BY next_attempt_at LIMIT 1"
        )
        return rows[0][0] if rows else None

    async def stored(self, task_id: str, position: int) -> StoredFile | None:
        rows = await self.database.rows(f"{STORED} AND task_id = $1 AND position = $2", task_id, position)
        return StoredFile(*rows[0]) if rows else None

    async def stored_inline(self, inline_name: str) -> StoredFile | None:
        rows = await self.database.rows(f"{STORED} AND inline_name = $1 LIMIT 1", inline_name)
        return StoredFile(*rows[0]) if rows else None

    async def counts(self) -> CopyCounts:
        return await counts_of(self.database)

    async def start(self, task_id: str, now: int) -> int:
        def work(batch: PostgresBatch) -> Change[int]:
            task = batch.task(task_id)
            marked = to_be_copied(task, now) if task is not None else None
            if marked is None:
                return Change(0)
            copies = copies_of(marked)
            return Change(len(copies), moved=marked, copies=copies)

        return await self.writer.do(Job(Point.CHANGE_COPIES, work, task_id=task_id))

    # --- removal ---

    async def waiting(self, limit: int) -> list[str]:
        rows = await self.database.rows("SELECT task_id FROM copy_removals ORDER BY n LIMIT $1", limit)
        return [row["task_id"] for row in rows]

    async def done(self, task_ids: Sequence[str]) -> None:
        await self.database.write(Point.TIDY, "DELETE FROM copy_removals WHERE task_id = ANY($1)", list(task_ids))


async def remove_copies(connection: Connection, task_ids: Sequence[str]) -> None:
    """With their tasks; the files are deleted later, whenever the storage is available."""
    await connection.execute(
        "WITH gone AS (DELETE FROM copies WHERE task_id = ANY($1) RETURNING task_id)"
        " INSERT INTO copy_removals (task_id) SELECT DISTINCT task_id FROM gone",
        list(task_ids),
    )


async def counts_of(database: PostgresDatabase) -> CopyCounts:
    rows = await database.rows(
        "SELECT count(*), min(created_at) FROM"
        " (SELECT created_at FROM copies WHERE status = 'pending' AND worker = 0"
        " UNION ALL SELECT created_at FROM copies WHERE status = 'pending' AND worker > 0) AS waiting"
    )
    return CopyCounts(*rows[0])
