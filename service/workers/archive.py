"""Copy result files before their provider deletes them, a few at a time and beside everything else."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Protocol

from msgspec.structs import replace

from service.core.copies import FileCopy, StoredFile
from service.core.delivery import wait_before_next
from service.core.errors import CallbridgeError
from service.core.event import Event
from service.core.result import Copy
from service.core.times import now_ms
from service.ports.copies import CopyQueue, DownloadFailed, StorageUnavailable
from service.ports.files import InlineFiles
from service.workers.copier import Copier
from service.workers.retry import retry_until_stored

log = logging.getLogger("callbridge.archive")
# Files at once. An owner has as many of them as are free beside it: four, or two beside those four.
AT_ONCE = 8
# Seconds. New work of other processes is looked for this often; a store in trouble is tried again this often.
LOOK_AGAIN = 5.0
TRY_STORE_AGAIN = 3.0
PROBE_SECONDS = 6.0


class Worker(Protocol):
    """This process, as its claims name it."""

    @property
    def worker(self) -> int: ...


class CopyObserver(Protocol):
    def copied(self, size: int) -> None: ...

    def failed_attempt(self, final: bool) -> None: ...


class Archiver:
    """`address` makes the public address of a stored copy."""

    def __init__(
        self,
        queue: CopyQueue,
        copier: Copier,
        inline: InlineFiles,
        address: Callable[[FileCopy, StoredFile], str],
        schedule: tuple[float, ...],
    ) -> None:
        self._queue = queue
        self._copier = copier
        self._inline = inline
        self._address = address
        self._schedule = schedule
        self._copying: dict[asyncio.Task[None], FileCopy] = {}
        # When each owner had its last turn.
        self._turns: dict[str, int] = {}
        self._turn = count(1)
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self.observers: list[CopyObserver] = []

    def start(self, worker: Worker) -> None:
        self._loop = asyncio.create_task(self._run(worker), name="archive")

    async def stop(self) -> None:
        """Copies in hand are given back; what was uploaded of them is taken back."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        in_hand = dict(self._copying)
        for task in in_hand:
            task.cancel()
        await asyncio.gather(*in_hand, return_exceptions=True)
        given_back = [self._queue.put_back(copy, now_ms()) for copy in in_hand.values()]
        await asyncio.gather(*given_back, return_exceptions=True)

    @property
    def alive(self) -> bool:
        return self._loop is not None and not self._loop.done()

    def on_event(self, event: Event) -> None:
        if event.type == "task.completed":
            self._wake.set()

    async def _run(self, worker: Worker) -> None:
        while True:
            self._wake.clear()
            rest = LOOK_AGAIN
            try:
                if self._trouble is not None:
                    await self._try_store(worker)
                else:
                    rest = await self._until_next()
                    if not rest:
                        await self._claim(worker, AT_ONCE)
                        # What is due still waits for a place of its owner: a copy that ends wakes this loop.
                        rest = await self._until_next() or LOOK_AGAIN
            except CallbridgeError as error:
                log.warning("copies wait: %s", error.detail)
            await self._pause(rest)

    async def _try_store(self, worker: Worker) -> None:
        """A probe first, so that nothing is downloaded in vain; then one file, since a full store may take a probe."""
        await asyncio.sleep(TRY_STORE_AGAIN)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._copier.probe()
        except (StorageUnavailable, TimeoutError):
            self._wake.set()
            return
        if not await self._claim(worker, 1):
            self._trouble = None

    async def _claim(self, worker: Worker, at_once: int) -> bool:
        """One copy for each owner in turn, first for who has the fewest. Whether something is in hand now."""
        owners = await self._queue.owners_due(now_ms())
        while owners:
            in_hand = Counter(copy.owner for copy in self._copying.values())
            owner = min(owners, key=lambda name: (in_hand[name], self._turns.get(name, 0)))
            if in_hand[owner] >= at_once - in_hand.total():
                break
            copies = await self._queue.claim(worker.worker, owner, now_ms(), 1)
            if not copies:
                owners.remove(owner)
            for copy in copies:
                self._begin(copy)
        return bool(self._copying)

    def _begin(self, copy: FileCopy) -> None:
        self._turns[copy.owner] = next(self._turn)
        task = asyncio.create_task(self._copy(copy), name=f"copy {copy.task_id}")
        self._copying[task] = copy
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            del self._copying[task]
            self._wake.set()

    async def _until_next(self) -> float:
        """Seconds until something may be claimed."""
        if len(self._copying) >= AT_ONCE:
            return LOOK_AGAIN
        due = await self._queue.next_due()
        return LOOK_AGAIN if due is None else min(max(0.0, (due - now_ms()) / 1000), LOOK_AGAIN)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    # --- one copy ---

    async def _copy(self, copy: FileCopy) -> None:
        try:
            stored = await self._copier.copy(copy)
        except StorageUnavailable as trouble:
            await self._store_in_trouble(copy, str(trouble))
        except DownloadFailed as failed:
            await self._attempt_failed(copy, failed)
        except CallbridgeError as error:
            # The database, which is asked for what came inline.
            log.warning("a file is not copied yet: %s", error.detail, extra=_about(copy))
            await self._put_back(copy, TRY_STORE_AGAIN)
        except Exception:
            log.exception("copying a file met an unknown fault", extra=_about(copy))
            await self._attempt_failed(copy, DownloadFailed("Copying it met an unknown fault; it is in the log."))
        else:
            await self._stored(copy, stored)

    async def _stored(self, copy: FileCopy, file: StoredFile) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.warning("copies are stored again")
        url = self._address(copy, file)
        ended = Copy("stored", url, file.bytes, file.media_type, file.sha256)
        if await retry_until_stored(lambda: self._queue.finish(copy, ended, file, now_ms())):
            for observer in self.observers:
                observer.copied(file.bytes)
            if file.inline_name is not None:
                await self._inline.remove(file.inline_name)

    async def _store_in_trouble(self, copy: FileCopy, sentence: str) -> None:
        """No attempt is used up: the file may be there, and only the store is not."""
        if self._trouble is None:
            log.warning("copies wait: %s", sentence)
        self._trouble = sentence
        await self._put_back(copy, TRY_STORE_AGAIN)

    async def _attempt_failed(self, copy: FileCopy, failed: DownloadFailed) -> None:
        copy = replace(copy, attempts=copy.attempts + 1)
        gone = copy.expires_at is not None and copy.expires_at <= now_ms()
        wait = None
        if not (failed.final or gone):
            wait = wait_before_next(self._schedule, copy.attempts, None, random.random())  # noqa: S311
        for observer in self.observers:
            observer.failed_attempt(wait is None)
        if wait is not None:
            log.debug("a file is not copied yet: %s", failed, extra=_about(copy))
            await self._put_back(copy, wait)
            return
        log.warning("a file is not copied: %s", failed, extra=_about(copy))
        await retry_until_stored(lambda: self._queue.finish(copy, Copy("failed", error=str(failed)), None, now_ms()))

    async def _put_back(self, copy: FileCopy, seconds: float) -> None:
        await retry_until_stored(lambda: self._queue.put_back(copy, now_ms() + int(seconds * 1000)))


def _about(copy: FileCopy) -> dict[str, str]:
    return {"task_id": copy.task_id}
