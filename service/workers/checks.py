"""Check tasks with their provider, and record what it reports."""

import asyncio
import logging
from collections.abc import Sequence

from service.core.checks import checked, rescheduled
from service.core.errors import Unavailable
from service.core.points import Point
from service.core.task import Task
from service.core.transitions import Timing
from service.core.update import Update
from service.flows.callbacks import Callbacks
from service.flows.inline import InlineKeeper
from service.ports.providers import CheckClient, ProviderBusy, SubmitNotSent, SubmitUnclear
from service.ports.store import Store
from service.workers.pace import Pace

log = logging.getLogger("callbridge.sweep")
# From so many due tasks on, the provider's list is read instead.
WORTH_A_LIST = 20


class Checks:
    def __init__(self, store: Store, callbacks: Callbacks, timing: Timing, keeper: InlineKeeper) -> None:
        self._store = store
        self._callbacks = callbacks
        self._timing = timing
        self._keeper = keeper

    async def list_tasks(self, client: CheckClient, pace: Pace, tasks: Sequence[Task]) -> dict[str, Update]:
        """Updates by provider id, for many tasks at once; empty when there are few, or the provider has no list."""
        known = [task for task in tasks if task.provider_task_id]
        if len(known) < WORTH_A_LIST:
            return {}
        try:
            return await client.list_tasks(known)
        except ProviderBusy as busy:
            pace.refused(busy.retry_after, asyncio.get_running_loop().time())
        except (SubmitNotSent, SubmitUnclear) as error:
            log.warning("cannot ask the provider: %s", error, extra={"provider": client.provider.name})
        return {}

    async def check(self, client: CheckClient, pace: Pace, task: Task) -> None:
        asked_at = self._timing.now()
        try:
            update = await self._ask(client, pace, task)
        except Exception:
            log.exception("task %s: unexpected error while asking the provider", task.id)
            update = None
        await self.record(task, update, asked_at)

    async def _ask(self, client: CheckClient, pace: Pace, task: Task) -> Update | None:
        try:
            if task.provider_task_id:
                return await client.fetch(task)
            # The response to the submit was lost: our callback address identifies the task in the account's history.
            addresses = frozenset(callback.url for callback in self._callbacks.all_of(task))
            return await client.search(task, addresses.__contains__)
        except ProviderBusy as busy:
            pace.refused(busy.retry_after, asyncio.get_running_loop().time())
        except (SubmitNotSent, SubmitUnclear) as error:
            log.warning("cannot ask the provider: %s", error, extra={"task_id": task.id, "provider": task.provider})
        return None

    async def record(self, task: Task, update: Update | None, asked_at: int) -> None:
        change = self._store.tasks.change
        try:
            if update is not None:
                update = await self._keeper.keep(update)
                decide = checked(update, asked_at, self._timing, attempt=task.attempts)
                await change(Point.SWEEP, task.id, decide)
            await change(Point.SWEEP_AGAIN, task.id, rescheduled(update, asked_at, self._timing))
        except Unavailable as error:
            log.warning("task %s: its check could not be recorded: %s", task.id, error.detail)
        except Exception:
            log.exception("task %s: unexpected error while recording a check", task.id)
