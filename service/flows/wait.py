"""`Prefer: wait`: hold a request until its task is finished."""

import asyncio

from service.core.caller import Caller
from service.core.task import Task
from service.flows.browse import Browser
from service.flows.hub import Hub


class FinishWaiter:
    """`longest` is the limit in seconds, since some routers end silent requests."""

    def __init__(self, browser: Browser, hub: Hub, longest: int) -> None:
        self.browser = browser
        self.hub = hub
        self.longest = longest

    async def wait(self, caller: Caller, task_id: str, seconds: int) -> Task:
        """The task once it is finished, or as it is after `seconds`. Keeps only the id in memory meanwhile."""
        finished = self.hub.waiter(task_id)
        try:
            # It may have finished before the waiter was created.
            task = await self.browser.task(caller, task_id)
            if task.finished:
                return task
            del task
            async with asyncio.timeout(seconds):
                await finished
        except TimeoutError:
            pass
        finally:
            finished.cancel()
        return await self.browser.task(caller, task_id)
