"""`Prefer: wait`: hold a request until its task is finished."""

import asyncio

from service.core.task import Task
from service.flows.hub import Hub
from service.ports import Store


class FinishWaiter:
    """`longest` is the most that a request may wait, in seconds: some routers end silent requests."""

    def __init__(self, store: Store, hub: Hub, longest: int) -> None:
        self.store = store
        self.hub = hub
        self.longest = longest

    async def wait(self, task_id: str, seconds: int) -> Task | None:
        """The task once it is finished, or as it is after `seconds`. Holds only the id while it waits."""
        finished = self.hub.waiter(task_id)
        try:
            # The finish may have come before the waiter was there.
            if not await self._is_finished(task_id):
                async with asyncio.timeout(seconds):
                    await finished
        except TimeoutError:
            pass
        finally:
            finished.cancel()
        return await self.store.tasks.get(task_id)

    async def _is_finished(self, task_id: str) -> bool:
        task = await self.store.tasks.get(task_id)
        return task is None or task.finished
