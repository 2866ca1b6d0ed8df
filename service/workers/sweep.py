"""Ask the provider about open tasks without news: the one place that polls, once for all subscribers."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from service.core.errors import CallbridgeError, Unavailable
from service.core.points import Point
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import NOTHING, Decide, Decision, Timing, announced, fail, next_check
from service.core.update import SOON, Update, apply
from service.flows.callbacks import Callbacks
from service.flows.inline import InlineKeeper
from service.ports.providers import CheckClient, ProviderBusy, SubmitNotSent, SubmitUnclear
from service.ports.store import Store
from service.workers.progress import Progress

log = logging.getLogger("callbridge.sweep")
# Questions a second to one provider account: a few leave room for the submits, many catch up after lost callbacks.
FEWEST, MOST, LEAST = 5.0, 100.0, 0.5
ROUND_SECONDS = 10
# Rests after a refusal, in seconds, where none is named.
BUSY_REST, LONGEST_REST = 5.0, 300.0
ROUND = 50
# With so many due at once a list is read instead.
WORTH_A_LIST = 20
# Seconds; the questions of one round take less, unless the provider is busy.
CLAIMED_FOR = 60.0


class Pace:
    """Questions a second to one provider account: more while many are due, fewer while it is busy."""

    def __init__(self) -> None:
        self.rate = FEWEST
        self.rests_until = 0.0

    def had(self, due: int) -> None:
        """`due` tasks were waiting for a question: a full round means that more of them do."""
        self.rate = min(self.rate * 1.5, MOST) if due >= self.round else max(self.rate / 1.5, FEWEST)

    @property
    def round(self) -> int:
        """How many tasks to claim at once: those of some seconds."""
        return int(self.rate * ROUND_SECONDS)

    def rest_left(self, now: float) -> float:
        return max(0.0, self.rests_until - now)

    def refused(self, retry_after: float | None, now: float) -> None:
        self.rate = max(self.rate / 2, LEAST)
        self.rests_until = max(self.rests_until, now + min(retry_after or BUSY_REST, LONGEST_REST))


class Sweeper:
    def __init__(
        self,
        store: Store,
        clients: Mapping[str, CheckClient],
        callbacks: Callbacks,
        timing: Timing,
        keeper: InlineKeeper,
        progress: Progress,
    ) -> None:
        self.store = store
        self.clients = clients
        self.callbacks = callbacks
        self.timing = timing
        self.keeper = keeper
        self.progress = progress
        self._paces = {name: Pace() for name in clients}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._sweep(name), name=f"sweep {name}") for name in self.clients]
        self._tasks.append(asyncio.create_task(self._give_up(), name="deadlines"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def alive(self) -> bool:
        return not any(task.done() for task in self._tasks)

    async def _sweep(self, name: str) -> None:
        pace = self._paces[name]
        while True:
            await asyncio.sleep(pace.rest_left(asyncio.get_running_loop().time()))
            due: list[Task] = []
            wake = None
            try:
                with self.progress.step("sweep"):
                    wake = await self.store.checks.next_due(name)
                    if self._has_come(wake):
                        due = await self._claim(name, pace.round)
                pace.had(len(due))
                await self._round(self.clients[name], pace, due)
            except CallbridgeError as error:
                log.warning("the sweep waits: %s", error.detail)
            if not due:
                await self._rest(wake)

    def _has_come(self, moment: int | None) -> bool:
        return moment is not None and moment <= self.timing.now()

    async def _claim(self, name: str, limit: int) -> list[Task]:
        """Due again after a while, should this worker end before it has asked."""
        now = self.timing.now()
        return await self.store.checks.claim(name, now, now + int(CLAIMED_FOR * 1000), limit)

    async def _round(self, client: CheckClient, pace: Pace, due: list[Task]) -> None:
        """Paced, but side by side: a question without an answer holds up nobody."""
        loop = asyncio.get_running_loop()
        listed = await self._listed(client, pace, due)
        async with asyncio.TaskGroup() as asking:
            for task in due:
                if update := listed.get(task.provider_task_id or ""):
                    await self._told(task, update, self.timing.now())
                    continue
                if pace.rest_left(loop.time()):
                    break  # the others are due again when their claim ends
                asking.create_task(self._ask(client, pace, task))
                await asyncio.sleep(1 / pace.rate)

    async def _rest(self, wake: int | None) -> None:
        """Until the next one is due, and never longer than until a task that came meanwhile may be."""
        longest = min(self.timing.sweep_after / 4, self.timing.task_deadline / 4, SOON)
        rest = longest if wake is None else (wake - self.timing.now()) / 1000
        # What is due and yet not to be had is in another worker's hands.
        await asyncio.sleep(max(rest if 0 < rest < longest else longest, 0.05))

    async def _listed(self, client: CheckClient, pace: Pace, due: list[Task]) -> dict[str, Update]:
        """Many at once, where the provider has a list."""
        known = [task for task in due if task.provider_task_id]
        if len(known) < WORTH_A_LIST:
            return {}
        try:
            return await client.list_tasks(known)
        except ProviderBusy as busy:
            pace.refused(busy.retry_after, asyncio.get_running_loop().time())
        except (SubmitNotSent, SubmitUnclear) as error:
            log.warning("the provider could not be asked: %s", error, extra={"provider": client.provider.name})
        return {}

    async def _ask(self, client: CheckClient, pace: Pace, task: Task) -> None:
        asked_at = self.timing.now()
        try:
            found = await self._news(client, pace, task)
        except Exception:
            log.exception("task %s: asking the provider met an unknown fault", task.id)
            found = None
        await self._told(task, found, asked_at)

    async def _told(self, task: Task, found: Update | None, asked_at: int) -> None:
        try:
            note = partial(Task.with_check, at=asked_at, outcome=_outcome(found))
            if found is not None:
                found = await self.keeper.keep(found)
                decide = apply(found, self.timing, attempt=task.attempts, asked=True)
                await self.store.tasks.change(Point.SWEEP, task.id, _noted_at_the_end(decide, note))
            await self.store.tasks.change(Point.SWEEP_AGAIN, task.id, partial(self._later, found, note))
        except Unavailable as error:
            log.warning("task %s: its sweep could not be recorded: %s", task.id, error.detail)
        except Exception:
            log.exception("task %s: what the provider said could not be recorded", task.id)

    async def _news(self, client: CheckClient, pace: Pace, task: Task) -> Update | None:
        try:
            if task.provider_task_id:
                return await client.fetch(task)
            # The submit's answer was lost: our callback address in the account's history names the task.
            addresses = frozenset(callback.url for callback in self.callbacks.all_of(task))
            return await client.search(task, addresses.__contains__)
        except ProviderBusy as busy:
            pace.refused(busy.retry_after, asyncio.get_running_loop().time())
            return None
        except (SubmitNotSent, SubmitUnclear) as error:
            log.warning(
                "the provider could not be asked: %s", error, extra={"task_id": task.id, "provider": task.provider}
            )
            return None

    def _later(self, found: Update | None, note: Callable[[Task], Task], task: Task) -> Decision:
        if task.finished:
            return NOTHING
        task = note(task)
        if found is None and task.doubts:
            # No answer settles nothing either, and must not be asked for every two seconds.
            task = replace(task, doubts=task.doubts + 1)
        return ((replace(task, check_at=next_check(task, self.timing), checks=task.checks + 1), None),)

    async def _give_up(self) -> None:
        while True:
            late: list[Task] = []
            wake = None
            try:
                with self.progress.step("deadlines"):
                    wake = await self.store.checks.next_deadline()
                    if self._has_come(wake):
                        late = await self.store.checks.overdue(self.timing.now(), ROUND)
                for task in late:
                    await self.store.tasks.change(Point.DEADLINE, task.id, self._too_late)
            except CallbridgeError as error:
                log.warning("deadlines wait: %s", error.detail)
            if not late:
                await self._rest(wake)

    def _too_late(self, task: Task) -> Decision:
        if task.finished or task.deadline_at > self.timing.now():
            return NOTHING
        if task.output is not None:
            # The provider called it by a word that nobody knows, but the result is there.
            return announced(task, task.moved(S.COMPLETED, self.timing.now(), finished_by_us=True))
        if task.status is S.UNCONFIRMED:
            code = "submission_unconfirmed"
            text = "No answer to the submit came, and no callback; the provider may have charged for it."
        elif task.status is S.QUEUED:
            code, text = "deadline_exceeded", "The provider did not take the task in time."
        else:
            code, text = "deadline_exceeded", "The provider did not finish the task in time."
        return fail(code, text, self.timing, by_us=True)(task)


def _outcome(found: Update | None) -> str:
    if found is None:
        return "no answer about this task"
    said = found.status.value if found.status is not None else "still open"
    return f"{said} ({found.provider_status})" if found.provider_status not in (None, said) else said


def _noted_at_the_end(decide: Decide, note: Callable[[Task], Task]) -> Decide:
    """A task that is not finished by it is noted when its next question is planned."""

    def noted(task: Task) -> Decision:
        steps = decide(task)
        if not steps or not steps[-1][0].finished:
            return steps
        *before, (last, event) = steps
        return (*before, (note(last), event))

    return noted
