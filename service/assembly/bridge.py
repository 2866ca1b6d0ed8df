"""All groups of parts; they start in this order and stop in reverse."""

import asyncio
import secrets
from contextlib import suppress

from service.assembly.copying import Copying
from service.assembly.delivering import Delivering
from service.assembly.foundation import Foundation
from service.assembly.observing import Observing
from service.assembly.submitting import Submitting
from service.assembly.web import Web
from service.core.errors import CallbridgeError
from service.core.event import FINISHING_EVENTS, Event
from service.core.times import clock
from service.ports.store import Store
from service.settings import Settings
from service.web.api.stream import keep_alive
from service.workers.clock import ClockWatch
from service.workers.retention import Tidier

# Seconds for running work to end at a stop, after the server's ten; Heroku kills after 30.
LAST_REQUESTS = 8.0


class Bridge:
    def __init__(self, base: Foundation) -> None:
        self.base = base
        self.store, self.hub, self.lease = base.store, base.hub, base.lease
        self.delivering = Delivering(base)
        self.submitting = Submitting(base, self.delivering.outlet)
        self.observing = Observing(base, self.submitting, self.delivering)
        self.copying = self._copying()
        self.web = Web(base, self.submitting, self.delivering, self.observing)
        self._clock_watch = ClockWatch(base.store.clock, clock)
        self._tidier = Tidier(base.store, base.settings.retention_days, base.files.inline.remove_older)
        self._loops: list[asyncio.Task[None]] = []

    def _copying(self) -> Copying | None:
        base = self.base
        if base.files.results is None:
            return None
        copying = Copying(base.settings, base.store.copies, base.files, base.files.results, base.lookups)
        copying.archiver.observers.append(self.observing.counters)
        return copying

    def on_event(self, event: Event) -> None:
        """An event that this process committed."""
        self.hub.publish(event)
        if self.copying is not None:
            self.copying.archiver.on_event(event)
        if event.type in FINISHING_EVENTS:
            self._on_canceled(event)
            self.submitting.queues.wake_all()

    def on_event_elsewhere(self, event: Event) -> None:
        """An event that another process committed; the store publishes it to the hub."""
        self._on_canceled(event)
        if event.type == "task.queued":
            self.submitting.queues.wake_all(fresh=True)

    def _on_canceled(self, event: Event) -> None:
        if event.type == "task.canceled" and event.task_id is not None:
            self.submitting.queues.on_canceled(event.task_id)

    async def start(self) -> None:
        await self._clock_watch.start()
        self.hub.last_seq = await self.store.events.last_seq()
        self.store.observers.event.append(self.on_event)
        self.store.observers.elsewhere.append(self.on_event_elsewhere)
        self.observing.start()
        self.store.hand_over(self.delivering.dispatcher)
        # The lanes first, so that deliveries of the rescue come after those that were waiting before.
        alone = await self.lease.start(self.delivering.dispatcher)
        await self.submitting.start(alone)
        self._tidier.start()
        if self.copying is not None:
            self.copying.start(self.lease)
        self.delivering.start_replays()
        self._loops = [
            asyncio.create_task(self.observing.scrape.keep_publishing(), name="publish counts"),
            asyncio.create_task(keep_alive(self.hub), name="heartbeat"),
        ]

    async def stop(self, patience: float = LAST_REQUESTS) -> None:
        """Requests that are under way have `patience` seconds to end."""
        for loop in self._loops:
            loop.cancel()
        with suppress(CallbridgeError):
            await self.observing.scrape.publish()
        await self.delivering.stop_replays()
        await self._clock_watch.stop()
        if self.copying is not None:
            await self.copying.stop()
        await self._tidier.stop()
        await self.submitting.stop_checking()
        await asyncio.gather(self.submitting.stop(patience), self.delivering.stop(patience))
        with suppress(CallbridgeError):
            await self.lease.stop()
        await self.submitting.close()
        await self.delivering.close()
        await self.base.lookups.close()
        await self.store.close()
        self.observing.finished_tasks.flush()


async def assemble(settings: Settings, store: Store) -> Bridge:
    local_secret = await store.secret_key(lambda: secrets.token_urlsafe(48))
    return Bridge(Foundation(settings, store, local_secret))
