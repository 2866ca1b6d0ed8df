"""The queued tasks of one provider account: claimed in turn, sent once, and recorded whatever the outcome."""

import asyncio
import logging
from contextlib import suppress

from service.core.errors import CallbridgeError, Unavailable
from service.core.points import Point
from service.core.task import Status as S
from service.core.task import Task
from service.core.transitions import Decide, given_back, rejected, unconfirmed, under_claim
from service.core.update import apply
from service.flows.callbacks import Callbacks
from service.ports.providers import (
    Accepted,
    Busy,
    Rejected,
    SubmitClient,
    SubmitNotSent,
    SubmitOutcome,
    SubmitUnclear,
    Unclear,
)
from service.ports.work import EVERY_TYPE, TaskTypes
from service.workers.hold import Holder
from service.workers.lease import Lease
from service.workers.rests import RouteRests
from service.workers.retry import retry_until_stored

log = logging.getLogger("callbridge.submit")

BUSY_PAUSE = 5.0
LOOK_AGAIN = 5.0
# Submits without a response yet: overload slows the queue down instead of spreading.
MOST_SUBMITTING = 100


class ProviderQueue:
    def __init__(self, client: SubmitClient, callbacks: Callbacks, holder: Holder, lease: Lease) -> None:
        self.client = client
        self.provider = client.provider
        self.callbacks = callbacks
        self.holder = holder
        self.lease = lease
        self.store = holder.store
        self.timing = holder.timing
        self._wake = asyncio.Event()
        self._nothing_waits = False
        self._rests = RouteRests(self.provider.routes)
        self._submitting = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name=f"submit {self.provider.name}")

    @property
    def alive(self) -> bool:
        return self._loop is not None and not self._loop.done()

    @property
    def resting(self) -> bool:
        return self._rests.open(asyncio.get_running_loop().time()) != EVERY_TYPE

    def wake(self, fresh: bool) -> None:
        if fresh:
            self._nothing_waits = False
        if not self._nothing_waits:
            self._wake.set()

    async def stop(self, patience: float) -> None:
        """Running requests get `patience` seconds; those cut off may have been sent, as the next start assumes."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait({self._loop, *self._sending}, timeout=patience)
        for sending in self._sending:
            sending.cancel()

    async def _run(self) -> None:
        self._wake.set()
        while True:
            # Now and then also without a wake: a slot at the provider may become free unnoticed.
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._nothing_waits else LOOK_AGAIN):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._take_turns()
            except CallbridgeError as error:
                log.warning("%s: the queue is delayed: %s", self.provider.name, error.detail)
                await asyncio.sleep(1)
                self._wake.set()

    async def _take_turns(self) -> None:
        """As many as the provider has slots for; the store picks them from each owner in turn."""
        while True:
            self._nothing_waits = True
            routes = self._rests.open(asyncio.get_running_loop().time())
            if not self.lease.valid() or routes is None or self._submitting >= MOST_SUBMITTING:
                self._nothing_waits = False
                return
            with self.lease.watchdog.step(f"submits to {self.provider.name}"):
                tasks = await self._claim(routes)
            if not tasks:
                self._nothing_waits = self._nothing_waits and not await self.store.submits.waiting(self.provider.name)
                return
            self._nothing_waits = False
            for task in tasks:
                sending = asyncio.create_task(self._send(task))
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)

    async def _claim(self, routes: TaskTypes) -> list[Task]:
        name, most = self.provider.name, self.provider.max_inflight
        limit = MOST_SUBMITTING - self._submitting
        claiming = asyncio.ensure_future(
            self.store.submits.claim(self.lease.worker, name, most, self.timing.now(), limit=limit, types=routes)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # The service is stopping: these are not sent, so they must go back to the queue.
            with suppress(CallbridgeError):
                for task in await claiming:
                    await self.store.tasks.change(Point.GIVE_BACK, task.id, given_back(task))
            raise

    async def _send(self, task: Task) -> None:
        try:
            if self.client.streams(task):
                await self.holder.hold(self.client, task, self._give_back)
            else:
                await self._submit(task)
        except Unavailable as error:
            # The outcome is lost: after a restart the task may have been sent, which is true.
            log.error("task %s: its submit could not be recorded: %s", task.id, error)
        except Exception:
            log.exception("task %s: unexpected error during its submit", task.id)
            # It must not occupy a slot at the provider until its deadline.
            with suppress(Unavailable):
                await self._record(task, Unclear("The service failed while it was sending this task."))
        self.wake(fresh=False)

    async def _submit(self, task: Task) -> None:
        if not self.lease.valid():
            await retry_until_stored(lambda: self.store.tasks.change(Point.GIVE_BACK, task.id, given_back(task)))
            return
        answer: SubmitOutcome
        self._submitting += 1
        try:
            answer = await self.client.submit(task, self.callbacks.of(task))
        except SubmitNotSent as error:
            await self._give_back(task, None, str(error))
            return
        except SubmitUnclear as error:
            answer = Unclear(str(error))
        finally:
            self._submitting -= 1
        await self._record(task, answer)

    async def _record(self, task: Task, answer: SubmitOutcome) -> None:
        match answer:
            case Accepted(update):
                self._rests.took(task.task_type)
                kept = await retry_until_stored(lambda: self.holder.keeper.keep(update))
                await self._change(task, apply(kept, self.timing), news=kept.status is S.COMPLETED)
            case Busy(retry_after):
                await self._give_back(task, retry_after if retry_after is not None else BUSY_PAUSE, "busy")
            case Rejected(error):
                await self._change(task, rejected(error, self.timing))
            case Unclear(reason):
                log.warning("task %s: the outcome of its submit is unclear: %s", task.id, reason)
                await self._change(task, unconfirmed(reason, self.timing))

    async def _change(self, task: Task, decide: Decide, news: bool = False) -> None:
        """`news`: a result, which was paid for and counts without a claim."""
        if not news:
            decide = under_claim(task, decide, end=True)
        await retry_until_stored(lambda: self.store.tasks.change(Point.SUBMIT_ANSWER, task.id, decide))

    async def _give_back(self, task: Task, pause: float | None, why: str) -> None:
        """The provider certainly does not have it: back to the queue, which pauses. Not a failure."""
        loop = asyncio.get_running_loop()
        pause = self._rests.rest(task.task_type, pause, loop.time())
        log.warning(
            "%s does not accept tasks (%s): next try in %.1f s",
            self.provider.name,
            why,
            pause,
            extra={"task_id": task.id, "provider": self.provider.name},
        )
        await retry_until_stored(lambda: self.store.tasks.change(Point.GIVE_BACK, task.id, given_back(task)))
        self._nothing_waits = False
        self._wake.set()
        loop.call_later(pause, self._wake.set)
