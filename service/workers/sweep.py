"""Ask the provider about open tasks without news: the one place that polls, once for all subscribers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from msgspec.structs import replace

from service.core.errors import CallbridgeError, Unavailable
from service.core.points import Point
from service.core.task import Status as S
from service.core.task import Task, Update
from service.core.transitions import NOTHING, SOON, Decide, Decision, Timing, apply, fail, next_check, tell
from service.flows.callbacks import Callbacks
from service.flows.inline import InlineKeeper
from service.ports import Provider, Sender, Store, SubmitNotSent, SubmitUnclear
from service.workers.progress import Progress

log = logging.getLogger("callbridge.sweep")
# Questions to one provider account: five a second leave room for the submits.
BUDGET_GAP = 0.2
ROUND = 50
# Seconds; the questions of one round take less.
CLAIMED_FOR = 60.0
HISTORY_PAGES = 3


class Sweeper:
    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        sender: Sender,
        callbacks: Callbacks,
        timing: Timing,
        keeper: InlineKeeper,
        progress: Progress,
    ) -> None:
        self.store = store
        self.providers = providers
        self.sender = sender
        self.callbacks = callbacks
        self.timing = timing
        self.keeper = keeper
        self.progress = progress
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._sweep(name), name=f"sweep {name}") for name in self.providers]
        self._tasks.append(asyncio.create_task(self._give_up(), name="deadlines"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def alive(self) -> bool:
        return not any(task.done() for task in self._tasks)

    async def _sweep(self, name: str) -> None:
        while True:
            try:
                due = await self._due(name)
                await self._round(self.providers[name], due)
            except CallbridgeError as error:
                log.warning("the sweep waits: %s", error.detail)
                due = []
            if not due:
                await self._rest(self.store.checks.next_due(name))

    async def _due(self, name: str) -> list[Task]:
        """Due again after a while, should this worker end before it has asked."""
        now = self.timing.now()
        with self.progress.step("sweep"):
            return await self.store.checks.claim(name, now, now + int(CLAIMED_FOR * 1000), ROUND)

    async def _round(self, provider: Provider, due: list[Task]) -> None:
        """Paced, but side by side: a question without an answer holds up nobody."""
        async with asyncio.TaskGroup() as asking:
            for task in due:
                asking.create_task(self._ask(provider, task))
                await asyncio.sleep(BUDGET_GAP)

    async def _rest(self, moment: Awaitable[int | None]) -> None:
        """Until the next one is due, and never longer than until a task that came meanwhile may be."""
        longest = min(self.timing.sweep_after / 4, self.timing.task_deadline / 4, SOON)
        try:
            wake = await moment
        except CallbridgeError:
            wake = None
        rest = longest if wake is None else (wake - self.timing.now()) / 1000
        # A moment that has passed came between the two questions; it can wait as what is new can.
        await asyncio.sleep(max(rest if 0 < rest < longest else longest, 0.05))

    async def _ask(self, provider: Provider, task: Task) -> None:
        asked_at = self.timing.now()
        try:
            found = await self._news(provider, task)
            note = partial(Task.with_question, at=asked_at, outcome=_outcome(found))
            if found is not None:
                found = await self.keeper.keep(found)
                decide = apply(found, self.timing, attempt=task.attempts, asked=True)
                await self.store.tasks.change(Point.SWEEP, task.id, _noted_at_the_end(decide, note))
            await self.store.tasks.change(Point.SWEEP_AGAIN, task.id, partial(self._later, found, note))
        except Unavailable as error:
            log.warning("task %s: its sweep could not be recorded: %s", task.id, error.detail)
        except Exception:
            log.exception("task %s: asking the provider met an unknown fault", task.id)

    async def _news(self, provider: Provider, task: Task) -> Update | None:
        try:
            if task.provider_task_id:
                return await self._fetch(provider, task)
            return await self._search_history(provider, task)
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

    async def _fetch(self, provider: Provider, task: Task) -> Update | None:
        request = provider.fetch_request(task)
        if request is None:
            return None
        return provider.read_fetch(task, await self.sender.send(request))

    async def _search_history(self, provider: Provider, task: Task) -> Update | None:
        """For a task whose submit answer was lost: our callback address in the account's history names it."""
        callbacks = self.callbacks.all_of(task)
        for page in range(1, HISTORY_PAGES + 1):
            request = provider.history_request(task, page)
            if request is None:
                return None
            history = await self.sender.send(request)
            for callback in callbacks:
                found = provider.find_in_history(task, callback, history)
                if found is not None:
                    return found
            await asyncio.sleep(BUDGET_GAP)
        return None

    async def _give_up(self) -> None:
        while True:
            try:
                with self.progress.step("deadlines"):
                    late = await self.store.checks.overdue(self.timing.now(), ROUND)
                for task in late:
                    await self.store.tasks.change(Point.DEADLINE, task.id, self._too_late)
            except CallbridgeError as error:
                log.warning("deadlines wait: %s", error.detail)
                late = []
            if not late:
                await self._rest(self.store.checks.next_deadline())

    def _too_late(self, task: Task) -> Decision:
        if task.finished or task.deadline_at > self.timing.now():
            return NOTHING
        if task.output is not None:
            # The provider called it by a word that nobody knows, but the result is there.
            return tell(task, task.moved(S.COMPLETED, self.timing.now(), finished_by_us=True))
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
