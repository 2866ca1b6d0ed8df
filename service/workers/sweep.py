"""Check open tasks without news with their provider: the only place that polls, once for all subscribers."""

import asyncio
import logging
from collections.abc import Mapping

from service.core.errors import CallbridgeError
from service.core.task import Task
from service.core.transitions import Timing
from service.ports.providers import CheckClient
from service.ports.work import CheckStore
from service.workers.checks import Checks
from service.workers.due import is_due, pause_until
from service.workers.pace import Pace
from service.workers.watchdog import Watchdog

log = logging.getLogger("callbridge.sweep")
# Seconds; a round takes less, unless the provider is busy.
CLAIMED_FOR = 60.0


class Sweeper:
    def __init__(
        self,
        store: CheckStore,
        clients: Mapping[str, CheckClient],
        checks: Checks,
        timing: Timing,
        watchdog: Watchdog,
    ) -> None:
        self._store = store
        self._clients = clients
        self._checks = checks
        self._timing = timing
        self._watchdog = watchdog
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._sweep(name), name=f"sweep {name}") for name in self._clients]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def alive(self) -> bool:
        return not any(task.done() for task in self._tasks)

    async def _sweep(self, name: str) -> None:
        pace = Pace()
        while True:
            await asyncio.sleep(pace.pause_left(asyncio.get_running_loop().time()))
            due: list[Task] = []
            next_due = None
            try:
                with self._watchdog.step("sweep"):
                    next_due = await self._store.next_due(name)
                    if is_due(next_due, self._timing):
                        due = await self._claim(name, pace.round)
                pace.claimed(len(due))
                await self._round(self._clients[name], pace, due)
            except CallbridgeError as error:
                log.warning("the sweep is delayed: %s", error.detail)
            if not due:
                await asyncio.sleep(pause_until(next_due, self._timing))

    async def _claim(self, name: str, limit: int) -> list[Task]:
        """They become due again after a while, in case this worker ends before it has checked them."""
        now = self._timing.now()
        return await self._store.claim(name, now, now + int(CLAIMED_FOR * 1000), limit)

    async def _round(self, client: CheckClient, pace: Pace, due: list[Task]) -> None:
        """Paced, but concurrent: a check without a response delays no other."""
        loop = asyncio.get_running_loop()
        listed = await self._checks.list_tasks(client, pace, due)
        async with asyncio.TaskGroup() as checking:
            for task in due:
                if update := listed.get(task.provider_task_id or ""):
                    await self._checks.record(task, update, self._timing.now())
                    continue
                if pace.pause_left(loop.time()):
                    break  # the others are due again when their claim ends
                checking.create_task(self._checks.check(client, pace, task))
                await asyncio.sleep(1 / pace.rate)
