"""Events, deliveries and signals of a transaction: numbered, written, and published once they are committed.

The numbers are in the one row of `counters`, which is locked from here to the end of the transaction. So transactions
that store events commit one after the other in the order of their numbers, and no reader can miss one that commits
later. Group commit makes this cheap: the lock is held for one statement and one commit of up to a hundred changes.
Nothing else is locked after this row, so that there are no deadlocks.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.core.delivery import Delivery
from service.core.event import Event
from service.core.outbox import Announcement, delivery_of, numbered, recipients
from service.core.points import Point
from service.core.subscription import Recipient
from service.core.times import now_ms
from service.store.postgres.connection import Unit, begin, roll_back
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.feed import CHANNEL, ChangeFeed, Counters
from service.store.postgres.rows import columns, delivery_row, event_row

EVENT_STORED = "SELECT EXISTS (SELECT 1 FROM events WHERE seq = $1 AND id = $2)"
LOCK = "SELECT events, deliveries, signals, pg_current_xact_id()::text AS xid FROM counters FOR UPDATE"
WRITE = (
    "WITH given AS (UPDATE counters SET events = $1, deliveries = $2, signals = $3),"
    " told AS (INSERT INTO events (seq, id, type, owner, task_id, at, body)"
    " SELECT * FROM unnest($4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bytea[])),"
    " queued AS (INSERT INTO deliveries (n, lane, subscription_id, owner, seq, event_id, event_type, task_id, url,"
    " next_attempt_at, worker) SELECT * FROM unnest($11::bigint[], $12::text[], $13::text[], $14::text[],"
    " $15::bigint[], $16::text[], $17::text[], $18::text[], $19::text[], $20::bigint[], $21::bigint[])),"
    " said AS (INSERT INTO signals (n, kind, name, at)"
    " SELECT * FROM unnest($22::bigint[], $23::text[], $24::text[], $25::bigint[]))"
    " SELECT pg_notify($26, $27)"
)


@dataclass(slots=True)
class DirectDelivery:
    """A delivery to one recipient only, of a stored event or of an announcement of this transaction."""

    about: Event | Announcement
    recipient: Recipient
    at: int
    # The worker that claims it; None: offered to the taker as usual.
    worker: int | None = None


@dataclass(slots=True)
class Outbox:
    announcements: list[Announcement] = field(default_factory=list)
    # Deliveries besides those to the recipients of the announcements.
    direct: list[DirectDelivery] = field(default_factory=list)
    # Kind and name, for the other processes.
    signals: list[tuple[str, str]] = field(default_factory=list)
    # The deliveries, once written.
    written: list[Delivery] = field(default_factory=list)
    # Called after the commit, before anything else is published here.
    then: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        return bool(self.announcements or self.direct or self.signals)


@dataclass(slots=True)
class Published:
    before: Counters
    after: Counters
    events: list[Event] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    handed: list[Delivery] = field(default_factory=list)


class Publisher:
    def __init__(self, database: PostgresDatabase, feed: ChangeFeed) -> None:
        self.database = database
        self.feed = feed
        # One of our own transactions at a time, from the lock to the publishing, so that we publish in order.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self, name: Point) -> AsyncIterator[tuple[Unit, Outbox]]:
        """Fill the outbox; it is published with the commit. Raises Unavailable, like `database.transaction`."""
        outbox = Outbox()
        async with self.database.connection() as connection:
            await begin(connection)
            unit = Unit(connection)
            try:
                yield unit, outbox
                if outbox:
                    async with self.publishing(unit, outbox):
                        await self.database.commit(unit, name)
                else:
                    await self.database.commit(unit, name)
            except BaseException:
                await roll_back(connection)
                raise

    async def drain(self) -> None:
        """Returns when what is being committed now was handed over."""
        async with self._turn:
            pass

    @asynccontextmanager
    async def publishing(self, unit: Unit, outbox: Outbox) -> AsyncIterator[Published]:
        """The last statements of a transaction. Commit inside; it is published afterwards."""
        async with self._turn:
            published = await self._write(unit, outbox)
            outbox.written = published.deliveries
            yield published
            if outbox.then is not None:
                outbox.then()
            self._publish(published)

    async def _write(self, unit: Unit, outbox: Outbox) -> Published:
        row = await unit.connection.fetchrow(LOCK)
        assert row is not None
        unit.xid = row["xid"]
        before = Counters(row["events"], row["deliveries"], row["signals"])
        # Subscriptions apply from their commit on, and deliveries that others stored in a lane come before ours.
        await self.feed.catch_up(unit.connection, before)
        draft = _Draft(self.feed, before)
        for announcement in outbox.announcements:
            draft.announce(announcement)
        for direct in outbox.direct:
            draft.deliver_directly(direct)
        after = Counters(
            before.events + len(draft.events),
            before.deliveries + len(draft.deliveries),
            before.signals + len(outbox.signals),
        )
        signals = [(before.signals + n, kind, name, now_ms()) for n, (kind, name) in enumerate(outbox.signals, 1)]
        if draft.events:
            unit.proof = EVENT_STORED, draft.events[0].seq, draft.events[0].id
        await unit.connection.fetchval(
            WRITE,
            *after,
            *(columns([event_row(event) for event in draft.events]) or [[]] * 7),
            *(columns([delivery_row(delivery) for delivery in draft.deliveries]) or [[]] * 11),
            *(columns(signals) or [[]] * 4),
            CHANNEL,
            self.feed.name,
        )
        return Published(before, after, draft.events, draft.deliveries, draft.handed)

    def _publish(self, published: Published) -> None:
        self.feed.stored(published.before, published.after, published.events)
        taker = self.feed.taker
        if taker is None:
            return
        handed = {delivery.n for delivery in published.handed}
        for delivery in published.deliveries:
            if delivery.n in handed:
                taker.on_delivery(delivery)
            elif not delivery.worker:
                taker.on_waiting(delivery.lane)


class _Draft:
    def __init__(self, feed: ChangeFeed, before: Counters) -> None:
        self._feed = feed
        self._seq, self._n = before.events, before.deliveries
        self.events: list[Event] = []
        self.deliveries: list[Delivery] = []
        self.handed: list[Delivery] = []

    def announce(self, announcement: Announcement) -> None:
        event = self._event(announcement)
        for recipient in recipients(announcement, self._feed.subscriptions):
            self._offer(event, recipient, announcement.at)

    def deliver_directly(self, direct: DirectDelivery) -> None:
        event = direct.about if isinstance(direct.about, Event) else self._event(direct.about)
        if direct.worker is None:
            self._offer(event, direct.recipient, direct.at)
        else:
            self._deliver(event, direct.recipient, direct.at, direct.worker)

    def _event(self, announcement: Announcement) -> Event:
        self._seq += 1
        event = numbered(announcement, self._seq)
        self.events.append(event)
        return event

    def _offer(self, event: Event, recipient: Recipient, now: int) -> None:
        """If its lane has room in memory, it is handed over after the commit."""
        taker = self._feed.taker
        worker = taker.accepts(recipient.lane) if taker is not None else 0
        delivery = self._deliver(event, recipient, now, worker)
        if worker:
            self.handed.append(delivery)

    def _deliver(self, event: Event, recipient: Recipient, now: int, worker: int) -> Delivery:
        self._n += 1
        delivery = delivery_of(self._n, event, recipient, now, worker)
        self.deliveries.append(delivery)
        return delivery
