"""Give up on tasks that are past their deadline."""

import asyncio
import logging

from service.core.errors import CallbridgeError
from service.core.points import Point
from service.core.task import Task
from service.core.transitions import Timing, missed_deadline
from service.ports.store import Store
from service.workers.due import is_due, pause_until
from service.workers.watchdog import Watchdog

log = logging.getLogger("callbridge.sweep")
AT_ONCE = 50


class Deadlines:
    def __init__(self, store: Store, timing: Timing, watchdog: Watchdog) -> None:
        self._store = store
        self._timing = timing
        self._watchdog = watchdog
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="deadlines")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _run(self) -> None:
        while True:
            late: list[Task] = []
            next_deadline = None
            try:
                with self._watchdog.step("deadlines"):
                    next_deadline = await self._store.checks.next_deadline()
                    if is_due(next_deadline, self._timing):
                        late = await self._store.checks.overdue(self._timing.now(), AT_ONCE)
                for task in late:
                    await self._store.tasks.change(Point.DEADLINE, task.id, missed_deadline(self._timing))
            except CallbridgeError as error:
                log.warning("deadlines are delayed: %s", error.detail)
            if not late:
                await asyncio.sleep(pause_until(next_deadline, self._timing))
