"""The first page: what needs attention, what is in progress, and the latest results."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from service.core.caller import Caller
from service.core.delivery import Delivery
from service.core.subscription import Subscription
from service.core.task import Task
from service.core.times import now_ms
from service.flows.browse import Browser, TaskFilter
from service.ports.insight import InsightStore
from service.web.page.charts import HOUR, HOURS, tasks_chart, times_chart
from service.web.page.gate import Gate, Visit
from service.web.page.rendering import render
from service.web.page.results import Run, run_of

OPEN = ("queued", "submitted", "processing", "unconfirmed")
MOST_OPEN = 12
MOST_RESULTS = 12
MOST_TROUBLES = 5


@dataclass(frozen=True, slots=True)
class Attention:
    dead: Sequence[Delivery]
    unconfirmed: Sequence[Task]
    failed: Sequence[Task]
    disabled: Sequence[Subscription]

    @property
    def nothing(self) -> bool:
        return not (self.dead or self.unconfirmed or self.failed or self.disabled)

    @property
    def more(self) -> list[tuple[str, str]]:
        """Name and address of the full list, for each kind that is cut off here."""
        lists: tuple[tuple[Sequence[object], str, str], ...] = (
            (self.disabled, "All subscriptions", "/subscriptions"),
            (self.dead, "All dead deliveries", "/deliveries?status=dead"),
            (self.unconfirmed, "All unconfirmed tasks", "/tasks?status=unconfirmed"),
            (self.failed, "All failed tasks", "/tasks?status=failed"),
        )
        return [(name, address) for items, name, address in lists if len(items) >= MOST_TROUBLES]


class NowPage:
    def __init__(self, gate: Gate, browser: Browser, insight: InsightStore) -> None:
        self.gate = gate
        self.browser = browser
        self.insight = insight

    def routes(self) -> list[Route]:
        return [self.gate.get("/", self.show)]

    async def show(self, visit: Visit) -> Response:
        caller, now = visit.caller, now_ms()
        day = now // HOUR * HOUR - (HOURS - 1) * HOUR
        counts, times, open_tasks, results = await asyncio.gather(
            self.insight.tasks_by_hour(caller.owner, day),
            self.insight.times_to_result(caller.owner, day),
            self._open(caller),
            self.browser.tasks(caller, TaskFilter(status="completed"), limit=MOST_RESULTS),
        )
        return render(
            "now.html",
            caller,
            notice=visit.notice,
            attention=await self._attention(caller, day),
            open_tasks=open_tasks,
            runs=await self._runs(open_tasks),
            results=results.items,
            tasks=tasks_chart(counts, now),
            times=times_chart(times),
        )

    async def _open(self, caller: Caller) -> list[Task]:
        pages = await asyncio.gather(
            *(self.browser.tasks(caller, TaskFilter(status=status), limit=MOST_OPEN) for status in OPEN)
        )
        found = sorted((task for page in pages for task in page.items), key=lambda task: task.id, reverse=True)
        return found[:MOST_OPEN]

    async def _runs(self, tasks: Sequence[Task]) -> Mapping[str, Run]:
        models = {(task.owner, task.model) for task in tasks}
        times = {key: await self.insight.times_of_model(*key) for key in models}
        return {task.id: run_of(task, times[task.owner, task.model]) for task in tasks}

    async def _attention(self, caller: Caller, since: int) -> Attention:
        dead, unconfirmed, failed, disabled = await asyncio.gather(
            self.insight.dead_with_a_receiver(caller.owner, MOST_TROUBLES),
            self.browser.tasks(caller, TaskFilter(status="unconfirmed"), limit=MOST_TROUBLES),
            self.browser.tasks(caller, TaskFilter(status="failed"), limit=MOST_TROUBLES),
            self.browser.subscriptions(caller, limit=MOST_TROUBLES, enabled=False),
        )
        return Attention(
            dead,
            unconfirmed.items,
            [task for task in failed.items if task.updated_at >= since],
            disabled.items,
        )
