"""The changes of all processes, in order: new events, lanes with new deliveries, changed subscriptions.

Their numbers come from one row, which stays locked until they are committed (see `publish`). So a reader that has read
up to the highest number it sees has read everything; nothing with a lower number can be committed later.
"""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4

from service.core.errors import CallbridgeError
from service.core.event import Event
from service.ports.observers import Observers
from service.ports.work import DeliveryTaker
from service.store.cancel import cancel_and_wait
from service.store.postgres.connection import Connection, OwnConnection
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.presence import Presence
from service.store.postgres.rows import EVENT_COLUMNS, decode_subscription, event_of
from service.store.postgres.trouble import describe, is_trouble
from service.store.subscription_cache import SubscriptionCache

log = logging.getLogger("callbridge.store")

CHANNEL = "callbridge"
# Seconds. A notification may be lost with its connection; this is the delay then.
POLL = 1.0
# Pause after each read for so many times as long as it took, so that many small commits elsewhere cost little here.
REST, LONGEST_REST = 2.0, 0.02
PAGE = 500
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
SUBSCRIPTION, LANE = "subscription", "lane"


class Counters(NamedTuple):
    """The last number given to each."""

    events: int
    deliveries: int
    signals: int


class ChangeFeed:
    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database
        self.subscriptions = SubscriptionCache()
        self.observers = Observers()
        self.taker: DeliveryTaker | None = None
        self.presence = Presence()
        # So that our own notifications do not wake us.
        self.name = uuid4().hex
        self.seen = Counters(0, 0, 0)
        self._wake = asyncio.Event()
        self._reading = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        async with self.database.connection() as connection, connection.transaction(isolation="repeatable_read"):
            self.seen = await numbers(connection)
            await self._fill_subscriptions(connection)
        self._tasks = [
            asyncio.create_task(self._follow(), name="feed"),
            asyncio.create_task(self._listen(), name="listen"),
        ]

    async def _fill_subscriptions(self, connection: Connection) -> None:
        rows = await connection.fetch("SELECT state FROM subscriptions ORDER BY id")
        self.subscriptions.fill(decode_subscription(row["state"]) for row in rows)

    async def close(self) -> None:
        await asyncio.gather(*map(cancel_and_wait, self._tasks))

    # --- after a commit of our own ---

    def stored(self, before: Counters, after: Counters, events: Sequence[Event]) -> None:
        """Nearly always no other process stored anything in between, and then there is nothing to read."""
        self.seen = Counters(
            self.seen.events, max(self.seen.deliveries, after.deliveries), max(self.seen.signals, after.signals)
        )
        if before.events == self.seen.events:
            self._publish(events)
        elif after.events > self.seen.events:
            self._wake.set()

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self.seen = self.seen._replace(events=event.seq)
            for on_event in self.observers.event:
                on_event(event)

    # --- what others stored ---

    async def catch_up(self, connection: Connection, until: Counters) -> None:
        """Lanes and subscriptions up to these numbers; events are read separately, since nothing waits for them."""
        if until.signals > self.seen.signals:
            signals = await connection.fetch(
                "SELECT kind, name FROM signals WHERE n > $1 AND n <= $2 ORDER BY n", self.seen.signals, until.signals
            )
            if len(signals) < until.signals - self.seen.signals:
                # We were disconnected for so long that some signals were removed.
                await self._fill_subscriptions(connection)
            await self._follow_signals(connection, [(row["kind"], row["name"]) for row in signals])
            self.seen = self.seen._replace(signals=max(self.seen.signals, until.signals))
        if until.deliveries > self.seen.deliveries:
            lanes = await connection.fetch(
                "SELECT DISTINCT lane FROM deliveries WHERE n > $1 AND n <= $2 AND worker = 0 AND status = 'pending'",
                self.seen.deliveries,
                until.deliveries,
            )
            self.seen = self.seen._replace(deliveries=max(self.seen.deliveries, until.deliveries))
            for row in lanes:
                self._wake_lane(row["lane"])

    async def _follow_signals(self, connection: Connection, signals: Sequence[tuple[str, str]]) -> None:
        changed = {name for kind, name in signals if kind == SUBSCRIPTION}
        if changed:
            rows = await connection.fetch("SELECT id, state FROM subscriptions WHERE id = ANY($1)", list(changed))
            for row in rows:
                self.subscriptions.put(decode_subscription(row["state"]))
            for gone in changed - {row["id"] for row in rows}:
                self.subscriptions.remove(gone)
            self.subscriptions.committed()
        # A changed subscription may have been enabled, or removed with deliveries still waiting.
        for lane in dict.fromkeys(name for _, name in signals):
            self._wake_lane(lane)

    def _wake_lane(self, lane: str) -> None:
        if self.taker is not None:
            self.taker.on_waiting(lane)

    async def read(self) -> int:
        """Read all that is new. Returns the last seq."""
        async with self._reading:
            async with self.database.connection() as connection:
                until = await numbers(connection)
                await self.catch_up(connection, until)
                while self.seen.events < until.events:
                    rows = await connection.fetch(
                        f"SELECT {EVENT_COLUMNS} FROM events WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT {PAGE}",
                        self.seen.events,
                        until.events,
                    )
                    if not rows:  # removed already
                        self.seen = self.seen._replace(events=until.events)
                        break
                    self._publish_elsewhere([event_of(row) for row in rows])
            return self.seen.events

    def _publish_elsewhere(self, events: Sequence[Event]) -> None:
        fresh = [event for event in events if event.seq > self.seen.events]
        for event in fresh:
            for elsewhere in self.observers.elsewhere:
                elsewhere(event)
        self._publish(fresh)

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._wake.wait()
            self._wake.clear()
            started = time.monotonic()
            try:
                await self.read()
            except CallbridgeError as error:
                log.debug("the feed is delayed: %s", error.detail)
            except Exception:
                log.exception("unexpected error in the feed")
            # Notifications that arrive meanwhile are read together.
            await asyncio.sleep(min(REST * (time.monotonic() - started), LONGEST_REST))

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                connection = await self.database.connect(direct=True)
            except Exception as error:
                log.debug("no notifications: %s", describe(error))
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads reconnects
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            try:
                await self._hear(connection)
            except Exception as error:
                if not is_trouble(error):
                    log.exception("unexpected error while listening")
            finally:
                self.presence.disconnected()
                connection.terminate()

    async def _hear(self, connection: OwnConnection) -> None:
        """Until the connection is lost."""
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        await connection.add_listener(CHANNEL, self._on_notification)
        # Read what was notified before we listened.
        self._wake.set()
        await self.presence.connected(connection)
        await gone.wait()

    def _on_notification(self, _: object, __: int, ___: str, sender: object) -> None:
        if sender != self.name:
            self._wake.set()


async def numbers(connection: Connection, lock: str = "") -> Counters:
    row = await connection.fetchrow(f"SELECT events, deliveries, signals FROM counters {lock}")
    assert row is not None
    return Counters(row["events"], row["deliveries"], row["signals"])
