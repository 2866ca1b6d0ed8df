"""Notice that the database file was deleted or replaced under the service, since further writes would be lost."""

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
            # In a thread, since stat hangs as well when the disk does.
            missing = await asyncio.to_thread(self._lock.missing)
            if missing == self._missing:
                continue
            self._missing = missing
            self._writer.refusing = missing is not None
            if missing:
                log.error("%s: requests are refused. Put it back, or restart to use what is there.", missing)
            else:
                log.warning("the database file is back")

    async def close(self) -> None:
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
