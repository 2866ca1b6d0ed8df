"""`Prefer: wait`: hold a request until its task is finished."""

import asyncio

from service.core.caller import Caller
from service.core.task import Task
from service.flows.browse import Browser
from service.flows.hub import Hub


class FinishWaiter:
    """`longest` is the most that a request may wait, in seconds: some routers end silent requests."""

    def __init__(self, browser: Browser, hub: Hub, longest: int) -> None:
        self.browser = browser
        self.hub = hub
        self.longest = longest

    async def wait(self, caller: Caller, task_id: str, seconds: int) -> Task:
        """The task once it is finished, or as it is after `seconds`. Holds only the id while it waits."""
        finished = self.hub.waiter(task_id)
        try:
            # The finish may have come before the waiter was there.
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
