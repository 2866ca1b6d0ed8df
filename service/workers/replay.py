"""Replays: events go to the lane of their subscription a few at a time, as fast as the receiver accepts them."""

import asyncio
import logging
from asyncio import Future
from typing import Protocol

from service.core.errors import CallbridgeError
from service.core.times import now_ms
from service.ports.queries import EventQuery
from service.ports.replays import Replay
from service.ports.store import Store
from service.workers.background import Background
from service.workers.lease import Lease

log = logging.getLogger("callbridge.deliver")

# A step ends by the number of its events or by their bytes.
STEP, STEP_BYTES = 64, 256 * 1024
# Seconds between looks for replays without a worker: that worker died, or the subscription was enabled again.
LOOK_EVERY = 5.0
LONGEST_WAIT = 30.0


class Lanes(Protocol):
    def room(self, lane: str) -> "Future[None]":
        """Resolves when almost nothing waits in this lane."""
        ...


class Replayer:
    def __init__(self, store: Store, lanes: Lanes, lease: Lease, background: Background) -> None:
        self._store = store
        self._lanes = lanes
        self._lease = lease
        self._background = background
        self._running: set[str] = set()
        self._started = asyncio.Event()
        # Twenty replays read one after the other, so that requests find a reader.
        self._reading = asyncio.Lock()

    def wake(self) -> None:
        """One was started."""
        self._started.set()

    async def run(self) -> None:
        while True:
            try:
                for replay in await self._store.replays.open():
                    if replay.subscription_id not in self._running and self._may_go_on(replay):
                        self._running.add(replay.subscription_id)
                        self._background.spawn(self._play(replay))
            except CallbridgeError as error:
                log.warning("replays are delayed: %s", error.detail)
            self._started.clear()
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._started.wait()
            except TimeoutError:
                pass

    def _may_go_on(self, replay: Replay) -> bool:
        name = replay.subscription_id
        subscription = self._store.subscriptions.known(name)
        # For a removed one only the end has to be written.
        enabled = subscription is None or subscription.enabled
        return enabled and self._lease.owns(name) and not self._background.stopping

    async def _play(self, replay: Replay | None) -> None:
        assert replay is not None
        name = replay.subscription_id
        try:
            while replay is not None and self._may_go_on(replay):
                room = self._lanes.room(name)
                await asyncio.wait([room], timeout=LONGEST_WAIT)
                if room.done():
                    replay = await self._step(replay)
        except CallbridgeError as error:
            log.warning("a replay is interrupted: %s", error.detail)
        finally:
            self._running.discard(name)

    async def _step(self, replay: Replay) -> Replay | None:
        """The replay with its cursor moved; None when it has ended."""
        subscription = self._store.subscriptions.known(replay.subscription_id)
        if subscription is None:
            await self._store.replays.end(replay.subscription_id)
            return None
        query = EventQuery(subscription.owner, replay.after, replay.up_to, replay.types, None, STEP, STEP_BYTES)
        async with self._reading:
            page = await self._store.events.after(query)
        after = page[-1].seq if page.more else replay.up_to
        chosen = [event for event in page if subscription.matches_stored(event)]
        await self._store.replays.step(replay, subscription, chosen, after, now_ms())
        if after >= replay.up_to:
            return None
        return Replay(replay.subscription_id, after, replay.up_to, replay.types)
