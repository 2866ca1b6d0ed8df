"""Copy result files before their provider deletes them, a few at a time in the background."""

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
# Files at once. An owner may copy as many as are still free: four, or two beside another's four.
AT_ONCE = 8
# Seconds between looks for copies queued by other processes, and between tries when the storage is unavailable.
LOOK_AGAIN = 5.0
TRY_STORAGE_AGAIN = 3.0
PROBE_SECONDS = 6.0


class Worker(Protocol):
    """This process, by its number in claims."""

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
        """Running copies are aborted and put back."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        running = dict(self._copying)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        given_back = [self._queue.put_back(copy, now_ms()) for copy in running.values()]
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
                    await self._try_storage(worker)
                else:
                    rest = await self._until_next()
                    if not rest:
                        await self._claim(worker, AT_ONCE)
                        # What is due waits until its owner may copy again: a copy that ends wakes this loop.
                        rest = await self._until_next() or LOOK_AGAIN
            except CallbridgeError as error:
                log.warning("copies are delayed: %s", error.detail)
            await self._pause(rest)

    async def _try_storage(self, worker: Worker) -> None:
        """First a probe, so that nothing is downloaded in vain; then one file, since full storage may pass it."""
        await asyncio.sleep(TRY_STORAGE_AGAIN)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._copier.probe()
        except (StorageUnavailable, TimeoutError):
            self._wake.set()
            return
        if not await self._claim(worker, 1):
            self._trouble = None

    async def _claim(self, worker: Worker, at_once: int) -> bool:
        """One copy for each owner in turn, the one with the fewest first. Returns whether any copy is running."""
        owners = await self._queue.owners_due(now_ms())
        while owners:
            running = Counter(copy.owner for copy in self._copying.values())
            owner = min(owners, key=lambda name: (running[name], self._turns.get(name, 0)))
            if running[owner] >= at_once - running.total():
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
        """Seconds until there may be something to claim."""
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
            await self._storage_unavailable(copy, str(trouble))
        except DownloadFailed as failed:
            await self._attempt_failed(copy, failed)
        except CallbridgeError as error:
            # From the database, where inline files may be.
            log.warning("a file is not copied yet: %s", error.detail, extra=_about(copy))
            await self._put_back(copy, TRY_STORAGE_AGAIN)
        except Exception:
            log.exception("unexpected error while copying a file", extra=_about(copy))
            await self._attempt_failed(copy, DownloadFailed("An unexpected error, which is in the log."))
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

    async def _storage_unavailable(self, copy: FileCopy, sentence: str) -> None:
        """Not a failed attempt: only the storage is unavailable, the file may be there."""
        if self._trouble is None:
            log.warning("copies are delayed: %s", sentence)
        self._trouble = sentence
        await self._put_back(copy, TRY_STORAGE_AGAIN)

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
