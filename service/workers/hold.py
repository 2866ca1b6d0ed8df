"""Hold the stream of a provider that never calls back, and make the events that it does not send."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.core.points import Point
from service.core.result import Failure
from service.core.task import Status as S
from service.core.task import Task, Update
from service.core.transitions import Timing, apply, unconfirmed, under_claim
from service.flows.inline import InlineKeeper
from service.ports import (
    Accepted,
    Busy,
    Callback,
    Provider,
    ProviderReply,
    Rejected,
    Sender,
    Store,
    StreamReader,
    SubmitNotSent,
    SubmitUnclear,
)
from service.workers.retry import stubborn

log = logging.getLogger("callbridge.hold")
NO_CALLBACK = Callback("", "")
# Subscribers hear of progress at most once a second.
PROGRESS_GAP = 1.0
GiveBack = Callable[[Task, float | None, str], Awaitable[None]]


class Holder:
    def __init__(self, store: Store, sender: Sender, timing: Timing, keeper: InlineKeeper) -> None:
        self.store = store
        self.sender = sender
        self.timing = timing
        self.keeper = keeper
        self._readers: dict[str, StreamReader] = {}

    def text_so_far(self, task_id: str) -> str:
        """Of a stream that this process holds; empty for any other."""
        reader = self._readers.get(task_id)
        return reader.text_so_far() if reader is not None else ""

    async def hold(self, provider: Provider, task: Task, give_back: GiveBack) -> None:
        """From the request to the finishing event. Never sent again by itself."""
        chunks = self.sender.stream(provider.submit_request(task, NO_CALLBACK))
        try:
            reply = await anext(chunks)
            assert isinstance(reply, ProviderReply)
        except SubmitNotSent as error:
            await give_back(task, None, str(error))
            return
        except SubmitUnclear as error:
            await self._change(task, Update(S.FAILED, error=interrupted(str(error))))
            return
        if reply.status != 200:
            await self._refused(provider, task, reply, give_back)
            return
        await self._change(task, Update(S.SUBMITTED))
        await self._follow(provider, task, chunks)

    async def _refused(self, provider: Provider, task: Task, reply: ProviderReply, give_back: GiveBack) -> None:
        match provider.read_answer(task, NO_CALLBACK, reply):
            case Busy(retry_after):
                await give_back(task, retry_after, "busy")
            case Rejected(error):
                await self._change(task, Update(S.FAILED, error=error))
            case Accepted(update):
                await self._change(task, update)
            case answer:
                decide = under_claim(task, unconfirmed(answer.reason, self.timing))
                await self.store.tasks.change(Point.HOLD, task.id, decide)

    async def _follow(self, provider: Provider, task: Task, chunks: object) -> None:
        reader = self._readers[task.id] = provider.stream_reader(task)
        loop = asyncio.get_running_loop()
        told_at = 0.0
        complete = True
        try:
            async with asyncio.timeout(self.timing.task_deadline):
                async for chunk in chunks:  # type: ignore[attr-defined]
                    progress = reader.feed(chunk)
                    if progress is not None and loop.time() - told_at >= PROGRESS_GAP:
                        told_at = loop.time()
                        await self._change(task, progress)
        except (SubmitUnclear, SubmitNotSent, TimeoutError) as error:
            log.warning("task %s: its stream broke: %s", task.id, str(error) or "deadline")
            complete = False
        finally:
            self._readers.pop(task.id, None)
        # Pictures of several megabytes are decoded: not in the loop.
        await self._change(task, await asyncio.to_thread(reader.finish, complete))

    async def _change(self, task: Task, update: Update) -> None:
        update = await stubborn(lambda: self.keeper.keep(update))
        decide = apply(update, self.timing)
        if update.status is not S.COMPLETED:  # a result was paid for, whoever brings it
            decide = under_claim(task, decide)
        await stubborn(lambda: self.store.tasks.change(Point.HOLD, task.id, decide))


def interrupted(reason: str) -> Failure:
    return Failure(
        "stream_interrupted", f"The provider's stream broke ({reason}); it may have charged. Resubmit to try again."
    )
