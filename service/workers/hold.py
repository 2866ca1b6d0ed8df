"""Hold the stream of a task for which the provider sends no callbacks, and make its events from it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from service.core.points import Point
from service.core.result import Failure
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import Timing, unconfirmed, under_claim
from service.core.update import Update, apply
from service.flows.inline import InlineKeeper
from service.ports.providers import (
    Accepted,
    Busy,
    OpenStream,
    Rejected,
    StreamReader,
    SubmitClient,
    SubmitNotSent,
    SubmitOutcome,
    SubmitUnclear,
)
from service.ports.store import Store
from service.workers.retry import retry_until_stored

log = logging.getLogger("callbridge.hold")
# Subscribers get progress at most once a second.
PROGRESS_GAP = 1.0
GiveBack = Callable[[Task, float | None, str], Awaitable[None]]


class Holder:
    def __init__(self, store: Store, timing: Timing, keeper: InlineKeeper) -> None:
        self.store = store
        self.timing = timing
        self.keeper = keeper
        self._held: dict[str, asyncio.Task[None]] = {}
        self._readers: dict[str, StreamReader] = {}

    def text_so_far(self, task_id: str) -> str:
        """The text of a stream that this process holds; empty for any other."""
        reader = self._readers.get(task_id)
        return reader.text_so_far() if reader is not None else ""

    async def hold(self, client: SubmitClient, task: Task, give_back: GiveBack) -> None:
        """From the request to the finishing event. Never repeated by itself. Ends early when `close` is called."""
        holding = asyncio.ensure_future(self._hold(client, task, give_back))
        self._held[task.id] = holding
        try:
            await asyncio.wait({holding})
            if not holding.cancelled():
                holding.result()
        finally:
            holding.cancel()
            self._held.pop(task.id, None)

    def close(self, task_id: str) -> None:
        """The task was canceled: stop reading, and paying for, its stream."""
        if task_id in self._held:
            self._held[task_id].cancel()

    async def _hold(self, client: SubmitClient, task: Task, give_back: GiveBack) -> None:
        try:
            opened = await client.open(task)
        except SubmitNotSent as error:
            await give_back(task, None, str(error))
        except SubmitUnclear as error:
            await self._change(task, Update(S.FAILED, error=interrupted(str(error))))
        else:
            if isinstance(opened, OpenStream):
                async with aclosing(opened.chunks):
                    await self._change(task, Update(S.SUBMITTED))
                    await self._follow(task, opened)
            else:
                await self._answered(task, opened, give_back)

    async def _answered(self, task: Task, answer: SubmitOutcome, give_back: GiveBack) -> None:
        match answer:
            case Busy(retry_after):
                await give_back(task, retry_after, "busy")
            case Rejected(error):
                await self._change(task, Update(S.FAILED, error=error))
            case Accepted(update):
                await self._change(task, update)
            case _:
                decide = under_claim(task, unconfirmed(answer.reason, self.timing))
                await self.store.tasks.change(Point.HOLD, task.id, decide)

    async def _follow(self, task: Task, stream: OpenStream) -> None:
        self._readers[task.id] = stream.reader
        loop = asyncio.get_running_loop()
        shown_at = 0.0
        complete = True
        try:
            async with asyncio.timeout(self.timing.task_deadline):
                async for chunk in stream.chunks:
                    progress = stream.reader.feed(chunk)
                    if progress is not None and loop.time() - shown_at >= PROGRESS_GAP:
                        shown_at = loop.time()
                        await self._change(task, progress)
        except (SubmitUnclear, SubmitNotSent, TimeoutError) as error:
            log.warning("a stream was interrupted: %s", str(error) or "deadline", extra={"task_id": task.id})
            complete = False
        finally:
            self._readers.pop(task.id, None)
        # From here on there may be a result, which a cancel must not lose.
        self._held.pop(task.id, None)
        # In a thread, since it may decode pictures of several megabytes.
        await self._change(task, await asyncio.to_thread(stream.reader.finish, complete))

    async def _change(self, task: Task, update: Update) -> None:
        update = await retry_until_stored(lambda: self.keeper.keep(update))
        decide = apply(update, self.timing)
        if update.status is not S.COMPLETED:  # a result was paid for, and counts without a claim
            decide = under_claim(task, decide)
        await retry_until_stored(lambda: self.store.tasks.change(Point.HOLD, task.id, decide))


def interrupted(reason: str) -> Failure:
    return Failure(
        "stream_interrupted", f"The provider's stream broke off ({reason}); it may have charged. Resubmit to try again."
    )
