"""The Store on SQLite: parts around one database."""

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
from service.store.sqlite.callbacks import SqliteCallbackLog
from service.store.sqlite.checks import SqliteChecks
from service.store.sqlite.clock import SqliteClock
from service.store.sqlite.copies import SqliteCopies
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.deliveries import SqliteDeliveries
from service.store.sqlite.events import SqliteEvents
from service.store.sqlite.insight import SqliteInsight
from service.store.sqlite.metrics import SqliteMetrics
from service.store.sqlite.queue import SqliteQueue
from service.store.sqlite.replays import SqliteReplays
from service.store.sqlite.retention import SqliteRetention
from service.store.sqlite.submits import SqliteSubmits
from service.store.sqlite.subscriptions import SqliteSubscriptions
from service.store.sqlite.tasks import SqliteTasks
from service.store.sqlite.workers import SqliteLanes, SqliteWorkers


class SqliteStore:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self.observers = database.observers
        self.inline_files: InlineFiles | None = None
        self.tasks: TaskStore = SqliteTasks(database)
        self.events: EventStore = SqliteEvents(database)
        self.subscriptions: SubscriptionStore = SqliteSubscriptions(database)
        self.deliveries: DeliveryStore = SqliteDeliveries(database)
        self.replays: ReplayStore = SqliteReplays(database)
        self.callbacks: CallbackLog = SqliteCallbackLog(database)
        self.clock: ClockStore = SqliteClock(database)
        self.insight: InsightStore = SqliteInsight(database)
        self.metrics: MetricsStore = SqliteMetrics(database)
        self.retention: RetentionStore = SqliteRetention(database)
        workers = SqliteWorkers(database)
        self.workers: WorkerStore = workers
        self.lanes: LaneStore = SqliteLanes(workers)
        self.submits: SubmitStore = SqliteSubmits(database, workers)
        self.checks: CheckStore = SqliteChecks(database)
        self.queue: DeliveryQueue = SqliteQueue(database, workers)
        self.copies: Copies = SqliteCopies(database, workers)

    def hand_over(self, taker: DeliveryTaker) -> None:
        self.database.taker = taker

    def trouble(self) -> str | None:
        return None if self.database.writer.healthy else "the database cannot be written"

    async def ping(self) -> None:
        """A real write, since SELECT works on a full disk too."""
        db = self.database.db
        await self.database.write(
            Point.PING, lambda: db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('ping', '')")
        )

    async def secret_key(self, make: Callable[[], str]) -> str:
        db = self.database.db

        def work() -> str:
            db.execute("INSERT OR IGNORE INTO meta (name, value) VALUES ('secret_key', ?)", (make(),))
            return str(db.execute("SELECT value FROM meta WHERE name = 'secret_key'").fetchone()[0])

        return await self.database.write(Point.KEEP_KEY, work)

    async def close(self) -> None:
        await self.database.close()


async def open_store(path: str, kill_point: Callable[[str], None] | None = None) -> SqliteStore:
    """Raises DatabaseInUse, SchemaFromTheFuture, sqlite3.Error."""
    database = SqliteDatabase(path)
    await database.open(kill_point)
    return SqliteStore(database)
