"""Accept a task, write it down, hand it to the provider when there is room there: once."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from service.core.errors import CallbridgeError, Conflict, NotFound, ProviderNotConfigured, Unavailable
from service.core.ids import new_id
from service.core.points import Point
from service.core.task import Status as S
from service.core.task import Task
from service.flows.hold import Holder
from service.flows.moves import NOTHING, Timing, apply, fail, tell, unconfirmed
from service.flows.stubborn import stubborn
from service.ports import (
    Accepted,
    Answer,
    Busy,
    Callback,
    Decision,
    Idempotency,
    Provider,
    ProviderReply,
    Rejected,
    Sender,
    Store,
    SubmitNotSent,
    SubmitUnclear,
    Unclear,
)
from service.wire.tokens import CallbackToken, Tokens

log = logging.getLogger("callbridge.submit")

BUSY_PAUSE = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class Callbacks:
    """How a provider reaches us about one attempt of one task."""

    def __init__(self, public_url: str, tokens: Tokens) -> None:
        self._public_url = public_url
        self._tokens = tokens

    def of(self, task: Task) -> Callback:
        token = CallbackToken(task.provider, task.id, task.attempts)
        url = f"{self._public_url}/webhooks/{task.provider}/{self._tokens.callback(token)}"
        return Callback(url, self._tokens.callback_secret(token))

    def links(self, task_id: str) -> dict[str, str]:
        path = f"/v1/tasks/{task_id}"
        stream = f"{self._public_url}{path}/events?token={self._tokens.stream(task_id)}"
        return {"self": path, "events": f"{path}/events", "stream": stream}


class Submitter:
    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        sender: Sender,
        callbacks: Callbacks,
        timing: Timing,
        holder: Holder,
    ) -> None:
        self.store = store
        self.providers = providers
        self.callbacks = callbacks
        self.timing = timing
        self._queues = {
            name: ProviderQueue(store, provider, sender, callbacks, timing, holder)
            for name, provider in providers.items()
        }

    async def accept(self, owner: str, body: dict[str, Any], idempotency: Idempotency | None) -> tuple[Task, bool]:
        """`body` has passed schemas/api/task.submit.json. Raises ValidationFailed, ProviderNotConfigured, …"""
        provider = self.providers.get(body["provider"])
        if provider is None:
            raise ProviderNotConfigured(
                f"This installation has no key for {body['provider']}; set {body['provider'].upper()}_API_KEY."
            )
        config = body.get("config") or {}
        warnings = provider.check(body["task_type"], body["model"], body["input"], config)
        given, config = provider.without_ours(body["input"], config)
        now = self.timing.now()
        task_id = new_id("tsk")
        task = Task(
            id=task_id,
            owner=owner,
            provider=provider.name,
            model=body["model"],
            task_type=body["task_type"],
            input=given,
            config=config,
            metadata=body.get("metadata") or {},
            callback_url=body.get("callback_url"),
            callback_events=tuple(body["callback_events"]) if body.get("callback_events") else None,
            warnings=tuple(warnings),
            created_at=now,
            updated_at=now,
            deadline_at=now + int(self.timing.task_deadline * 1000),
            links=self.callbacks.links(task_id),
        )
        stored, replayed = await self.store.tasks.add(task, idempotency)
        self.wake(provider.name, fresh=True)
        return stored, replayed

    async def resubmit(self, task: Task) -> Task:
        """A person's decision to send it again. Raises Conflict."""

        def decide(present: Task) -> Decision:
            if present.status not in (S.UNCONFIRMED, S.FAILED):
                raise Conflict(f"Only an unconfirmed or failed task can be sent again; this one is {present.status}.")
            now = self.timing.now()
            again = present.resubmitted(now, now + int(self.timing.task_deadline * 1000))
            return tell(present, again)

        if task.provider not in self.providers:
            raise ProviderNotConfigured(f"This installation has no key for {task.provider} any more.")
        changed = await self.store.tasks.change(Point.RESUBMIT, task.id, decide)
        if changed is None:
            raise NotFound("There is no such task.")
        self.wake(task.provider, fresh=True)
        return changed

    def wake(self, provider: str, *, fresh: bool = False) -> None:
        """Something came into the queue (`fresh`) or left the provider."""
        if provider in self._queues:
            self._queues[provider].wake(fresh)

    @property
    def alive(self) -> bool:
        return all(queue.alive for queue in self._queues.values())

    def start(self) -> None:
        for queue in self._queues.values():
            queue.start()

    async def stop(self, patience: float) -> None:
        await asyncio.gather(*(queue.stop(patience) for queue in self._queues.values()))


class ProviderQueue:
    """What waits for one provider account. The rows are the queue; this only takes them in turn."""

    def __init__(
        self,
        store: Store,
        provider: Provider,
        sender: Sender,
        callbacks: Callbacks,
        timing: Timing,
        holder: Holder,
    ) -> None:
        self.store = store
        self.provider = provider
        self.sender = sender
        self.callbacks = callbacks
        self.timing = timing
        self.holder = holder
        self._wake = asyncio.Event()
        self._nothing_waits = False
        self._paused_until = 0.0
        self._pause = FIRST_PAUSE
        self._last_owner = ""
        self._sending: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name=f"submit {self.provider.name}")

    @property
    def alive(self) -> bool:
        return self._loop is not None and not self._loop.done()

    def wake(self, fresh: bool) -> None:
        if fresh:
            self._nothing_waits = False
        if not self._nothing_waits:
            self._wake.set()

    async def stop(self, patience: float) -> None:
        """Requests in hand may end; what is cut counts as perhaps sent at the next start."""
        if self._loop is not None:
            self._loop.cancel()
        if self._sending:
            await asyncio.wait(self._sending, timeout=patience)
        for sending in self._sending:
            sending.cancel()

    async def _run(self) -> None:
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._sleep_while_paused()
            try:
                await self._take_turns()
            except CallbridgeError as error:
                log.warning("%s: the queue stands still: %s", self.provider.name, error.detail)
                await asyncio.sleep(1)
                self._wake.set()

    async def _sleep_while_paused(self) -> None:
        loop = asyncio.get_running_loop()
        while (rest := self._paused_until - loop.time()) > 0:
            await asyncio.sleep(rest)

    async def _take_turns(self) -> None:
        """One task of each owner in turn, so that a large batch of one delays nobody else."""
        while True:
            self._nothing_waits = True
            owners = await self.store.tasks.queued_owners(self.provider.name)
            if not owners:
                return
            self._nothing_waits = False
            room = self.provider.max_inflight - await self.store.tasks.at_provider(self.provider.name)
            if room <= 0 or self._paused_until > asyncio.get_running_loop().time():
                return
            owner = next((name for name in owners if name > self._last_owner), owners[0])
            self._last_owner = owner
            share = max(1, room // len(owners)) if len(owners) > 1 else room
            for task in await self.store.tasks.claim_queued(self.provider.name, owner, share, self.timing.now()):
                sending = asyncio.create_task(self._send(task))
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)

    async def _send(self, task: Task) -> None:
        try:
            if self.provider.streams(task):
                await self.holder.hold(self.provider, task, self._give_back)
            else:
                await self._submit(task)
        except (Unavailable, OSError) as error:
            # The store does not take the answer: after a restart the task counts as perhaps sent, which is true.
            log.error("task %s: its submit could not be recorded: %s", task.id, error)
        except Exception:
            log.exception("task %s: its submit met an unknown fault", task.id)
        self.wake(fresh=False)

    async def _submit(self, task: Task) -> None:
        callback = self.callbacks.of(task)
        answer: Answer
        try:
            reply = await self.sender.send(self.provider.submit_request(task, callback))
            answer = await self._read(task, callback, reply)
        except SubmitNotSent as error:
            await self._give_back(task, None, str(error))
            return
        except SubmitUnclear as error:
            answer = Unclear(str(error))
        await self._record(task, answer)

    async def _read(self, task: Task, callback: Callback, reply: ProviderReply) -> Answer:
        async def read() -> Answer:
            return self.provider.read_answer(task, callback, reply)

        # An answer may hold a picture inline, which goes to the disk.
        return await stubborn(read)

    async def _record(self, task: Task, answer: Answer) -> None:
        name = Point.SUBMIT_ANSWER
        match answer:
            case Accepted(update):
                self._pause = FIRST_PAUSE
                await stubborn(lambda: self.store.tasks.change(name, task.id, apply(update, self.timing)))
            case Busy(retry_after):
                await self._give_back(task, retry_after if retry_after is not None else BUSY_PAUSE, "busy")
            case Rejected(error):
                await stubborn(lambda: self.store.tasks.change(name, task.id, rejected(error, self.timing)))
            case Unclear(reason):
                log.warning("task %s: no clear answer to its submit: %s", task.id, reason)
                await stubborn(lambda: self.store.tasks.change(name, task.id, unconfirmed(reason, self.timing)))

    async def _give_back(self, task: Task, pause: float | None, why: str) -> None:
        """The provider surely does not have it: back to the queue, which pauses. No failure."""
        if pause is None:
            pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        log.info("%s does not take tasks (%s): next try in %.1f s", self.provider.name, why, pause)
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + pause)
        await stubborn(lambda: self.store.tasks.change(Point.GIVE_BACK, task.id, given_back))
        self._nothing_waits = False
        self._wake.set()


def given_back(task: Task) -> Decision:
    if task.status is not S.QUEUED or task.sent_at is None:
        return NOTHING
    return ((replace(task, sent_at=None, attempts=task.attempts - 1), None),)


def rejected(error: dict[str, Any], timing: Timing) -> Callable[[Task], Decision]:
    def decide(task: Task) -> Decision:
        if task.status is not S.QUEUED:
            return NOTHING
        # Ours to decide: a refusal may be wrong (a 500 that says "error"), and a result that comes later was paid for.
        return tell(task, task.moved(S.FAILED, timing.now(), error=error, finished_by_us=True))

    return decide


async def recover(store: Store, providers: Mapping[str, Provider], timing: Timing) -> None:
    """After a restart: what was being sent is perhaps at the provider; what was held as a stream is cut."""
    lost = "The service ended while it held this stream; the provider may have charged for it."
    for task in await store.tasks.held(tuple(providers)):
        if providers[task.provider].streams(task):
            await store.tasks.change(Point.RECOVER, task.id, fail("stream_interrupted", lost, timing, by_us=True))
    reason = "The service ended while it sent this task; the provider may have it."
    for task in await store.tasks.perhaps_sent():
        await store.tasks.change(Point.RECOVER, task.id, unconfirmed(reason, timing))
    await store.tasks.check_all_open(timing.now())
