"""Notices a database file that was deleted or replaced under the service: what is written to it then is lost."""

import asyncio
import logging

from service.store.sqlite.lock import FileLock
from service.store.sqlite.writer import SqliteWriter

log = logging.getLogger("callbridge.store")
EVERY_SECONDS = 2.0


class FileWatch:
    def __init__(self, lock: FileLock, writer: SqliteWriter) -> None:
        self._lock, self._writer = lock, writer
        self._missing: str | None = None
        self._loop = asyncio.create_task(self._watch(), name="database file")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            # Beside the loop: a disk that hangs answers no stat either.
            missing = await asyncio.to_thread(self._lock.missing)
            if missing == self._missing:
                continue
            self._missing = missing
            self._writer.refusing = missing is not None
            if missing:
                log.error(
                    "%s: nothing is taken any more. Put it back, or restart to begin with what is there.", missing
                )
            else:
                log.warning("the database file is back")

    async def close(self) -> None:
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
