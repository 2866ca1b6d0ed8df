"""Delete the copies of removed tasks, in steps, whenever the storage is available."""

import asyncio
import logging

from service.core.copies import folder_of
from service.core.errors import CallbridgeError
from service.ports.copies import CopyRemovals, CopyStorage, StorageUnavailable

log = logging.getLogger("callbridge.archive")
STEP = 10
# Seconds between looks for removed tasks, and between tries when the storage is unavailable.
ROUND = 3.0


class CopyRemover:
    def __init__(self, removals: CopyRemovals, storage: CopyStorage) -> None:
        self._removals = removals
        self._storage = storage
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="remove copies")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                while await self.step():
                    pass
            except StorageUnavailable as trouble:
                log.info("old copies are not deleted yet: %s", trouble)
            except CallbridgeError as error:
                log.warning("old copies are not deleted yet: %s", error.detail)
            await asyncio.sleep(ROUND)

    async def step(self) -> bool:
        """Whether there was anything to delete. Raises StorageUnavailable, Unavailable."""
        task_ids = await self._removals.waiting(STEP)
        for task_id in task_ids:
            await self._storage.delete(folder_of(task_id))
        if task_ids:
            await self._removals.done(task_ids)
        return bool(task_ids)
