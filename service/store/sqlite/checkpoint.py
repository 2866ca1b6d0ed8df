"""Checkpoints: copy the write-ahead log back into the file, next to the writer instead of in one of its commits.

A commit with a checkpoint pays two more fsyncs, and every caller waits for them. SQLite lets another connection do it
while the writer continues; the writer's own checkpoint, the last resort, then finds little to do.
"""

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger("callbridge.store")
# Rows written since the last checkpoint; a row is about one page of the log.
ROWS = 256
# Pages of the log at which the writer checkpoints by itself: 8 MiB.
LAST_RESORT = 2000
# Pages, and bytes, above which a fully copied log is truncated. Only a reader that takes minutes lets it grow so far.
LONGEST = 2000
LONGEST_BYTES = LONGEST * 4096
# Seconds until a checkpoint that a reader blocked is repeated.
AGAIN = 2.0


class Checkpointer:
    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
        self._db.execute("PRAGMA synchronous = FULL")
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._copying: asyncio.Future[None] | None = None
        self._copied_at = 0
        self._again: asyncio.TimerHandle | None = None
        self._closed = False

    def written(self, rows: int) -> None:
        """Call it after a commit; `rows` is the total that this process has written."""
        if rows - self._copied_at < ROWS or (self._copying is not None and not self._copying.done()):
            return
        self._copied_at = rows
        self._copy_beside()

    def _copy_beside(self) -> None:
        loop = asyncio.get_running_loop()
        self._copying = loop.run_in_executor(self._thread, self._copy, loop)

    def _copy(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            _, pages, copied = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > LONGEST and copied == pages:
                # The writer may find the file locked for a moment, and tries again by itself.
                left, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            else:
                left = pages > LONGEST
        except sqlite3.Error as error:
            # Nothing is lost: everything is in the log, and the next checkpoint includes it.
            log.warning("a checkpoint failed: %s", error)
            return
        if left:
            loop.call_soon_threadsafe(self._try_again, loop)

    def _try_again(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._again is None and not self._closed:
            self._again = loop.call_later(AGAIN, self._on_timer)

    def _on_timer(self) -> None:
        self._again = None
        if self._copying is None or self._copying.done():
            self._copy_beside()

    async def close(self) -> None:
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        if self._copying is not None:
            await self._copying
        self._thread.shutdown()
        self._db.close()
