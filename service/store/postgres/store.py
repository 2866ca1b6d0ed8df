"""The Store on PostgreSQL: parts around one database, which any number of processes share."""

from collections.abc import Callable

from service.core.points import Point
from service.ports.callbacks import CallbackLog
from service.ports.clock import ClockStore
from service.ports.copies import Copies
from service.ports.files import InlineFiles
from service.ports.insight import InsightStore
from service.ports.metrics import MetricsStore
from service.ports.replays import ReplayStore
from service.ports.store import DeliveryStore, EventStore, RetentionStore, SubscriptionStore, TaskStore
from service.ports.work import CheckStore, DeliveryQueue, DeliveryTaker, LaneStore, SubmitStore, WorkerStore
from service.store.postgres.callbacks import PostgresCallbackLog
from service.store.postgres.checks import PostgresChecks
from service.store.postgres.clock import PostgresClock
from service.store.postgres.copies import PostgresCopies
from service.store.postgres.database import KillPoint, PostgresDatabase
from service.store.postgres.deliveries import PostgresDeliveries
from service.store.postgres.events import PostgresEvents
from service.store.postgres.feed import ChangeFeed
from service.store.postgres.files import PostgresFiles
from service.store.postgres.insight import PostgresInsight
from service.store.postgres.metrics import PostgresMetrics
from service.store.postgres.publish import Publisher
from service.store.postgres.queue import PostgresQueue
from service.store.postgres.replays import PostgresReplays
from service.store.postgres.retention import PostgresRetention
from service.store.postgres.submits import PostgresSubmits
from service.store.postgres.subscriptions import PostgresSubscriptions
from service.store.postgres.tasks import PostgresTasks
from service.store.postgres.workers import PostgresLanes, PostgresWorkers
from service.store.postgres.writer import PostgresWriter


class PostgresStore:
    def __init__(self, database: PostgresDatabase, feed: ChangeFeed, writer: PostgresWriter) -> None:
        self.database = database
        self.feed = feed
        self.writer = writer
        publisher = writer.publisher
        self.observers = feed.observers
        self.inline_files: InlineFiles | None = PostgresFiles(database)
        self.tasks: TaskStore = PostgresTasks(database, writer)
        self.events: EventStore = PostgresEvents(database, feed)
        self.subscriptions: SubscriptionStore = PostgresSubscriptions(database, publisher)
        self.deliveries: DeliveryStore = PostgresDeliveries(database, publisher)
        self.replays: ReplayStore = PostgresReplays(database, publisher)
        self.callbacks: CallbackLog = PostgresCallbackLog(database, writer)
        self.copies: Copies = PostgresCopies(database, writer)
        self.clock: ClockStore = PostgresClock(database)
        self.insight: InsightStore = PostgresInsight(database)
        self.metrics: MetricsStore = PostgresMetrics(database)
        self.retention: RetentionStore = PostgresRetention(database)
        self.workers: WorkerStore = PostgresWorkers(database, feed.presence)
        self.lanes: LaneStore = PostgresLanes(database, publisher)
        self.submits: SubmitStore = PostgresSubmits(database)
        self.checks: CheckStore = PostgresChecks(database)
        self.queue: DeliveryQueue = PostgresQueue(database, writer)

    def hand_over(self, taker: DeliveryTaker) -> None:
        self.feed.taker = taker

    def trouble(self) -> str | None:
        if self.writer.is_failing():
            return "the database cannot be written"
        return None if self.database.healthy else "the database does not answer"

    async def ping(self) -> None:
        """A real write, since a read-only server responds to SELECT too."""
        await self.database.write(
            Point.PING, "INSERT INTO meta (name, value) VALUES ('ping', '') ON CONFLICT (name) DO UPDATE SET value = ''"
        )

    async def secret_key(self, make: Callable[[], str]) -> str:
        await self.database.write(
            Point.KEEP_KEY,
            "INSERT INTO meta (name, value) VALUES ('secret_key', $1) ON CONFLICT (name) DO NOTHING",
            make(),
        )
        return str((await self.database.rows("SELECT value FROM meta WHERE name = 'secret_key'"))[0][0])

    async def close(self) -> None:
        await self.writer.close()
        await self.feed.close()
        await self.database.close()


async def open_store(url: str, direct_url: str | None = None, kill_point: KillPoint | None = None) -> PostgresStore:
    """Raises DatabaseUnreachable, NotificationsLost, SchemaFromTheFuture."""
    database = PostgresDatabase(url, direct_url, kill_point)
    await database.open()
    feed = ChangeFeed(database)
    await feed.open()
    return PostgresStore(database, feed, PostgresWriter(database, Publisher(database, feed)))
