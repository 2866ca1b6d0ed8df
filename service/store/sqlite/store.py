"""The Store on SQLite: its parts around one database."""

from collections.abc import Callable

from service.core.points import Point
from service.ports import CallStore, DeliveryStore, EventStore, Listener, SubscriptionStore, TaskStore
from service.ports.insight import InsightStore
from service.ports.observers import CommitObserver
from service.store.sqlite.calls import SqliteCalls, remove_calls
from service.store.sqlite.database import Database
from service.store.sqlite.deliveries import SqliteDeliveries
from service.store.sqlite.events import SqliteEvents
from service.store.sqlite.insight import SqliteInsight
from service.store.sqlite.subscriptions import SqliteSubscriptions
from service.store.sqlite.tasks import SqliteTasks

# What is still tried keeps its task; what a disabled subscription left lying does not.
NOTHING_WAITS = (
    "NOT EXISTS (SELECT 1 FROM deliveries d LEFT JOIN subscriptions s ON s.id = d.subscription_id"
    " WHERE d.task_id = tasks.id AND d.status = 'pending' AND (d.subscription_id IS NULL OR s.enabled))"
)


class SqliteStore:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.tasks: TaskStore = SqliteTasks(database)
        self.events: EventStore = SqliteEvents(database)
        self.subscriptions: SubscriptionStore = SqliteSubscriptions(database)
        self.deliveries: DeliveryStore = SqliteDeliveries(database)
        self.calls: CallStore = SqliteCalls(database)
        self.insight: InsightStore = SqliteInsight(database)

    def listen(self, listener: Listener) -> None:
        self.database.listener = listener

    def observe(self, observer: CommitObserver) -> None:
        self.database.observers.append(observer)

    async def ping(self) -> None:
        """A real write: a full disk answers SELECT happily."""
        db = self.database.db
        await self.database.write(
            Point.PING, lambda: db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('ping', '')")
        )

    def local_secret(self, make: Callable[[], str]) -> str:
        """The secret key of an installation without SECRET_KEY; kept, so that callbacks outlive a restart."""
        db = self.database.db
        db.execute("INSERT OR IGNORE INTO meta (name, value) VALUES ('secret_key', ?)", (make(),))
        return str(db.execute("SELECT value FROM meta WHERE name = 'secret_key'").fetchone()[0])

    async def remove_tasks(self, before: int, after: str, limit: int) -> str | None:
        """In small steps: a long delete would hold the writer, and with it every callback."""

        def work() -> str | None:
            db = self.database.batch.written()
            seen = db.execute(
                f"SELECT id, finished_at < ? AND {NOTHING_WAITS} FROM tasks WHERE id > ? AND id < ?"
                " ORDER BY id LIMIT ?",
                (before, after, f"tsk_{before:012x}", limit),
            ).fetchall()
            old = [(task_id,) for task_id, may_go in seen if may_go]
            for table in ("deliveries", "events", "task_metadata"):
                db.executemany(f"DELETE FROM {table} WHERE task_id = ?", old)
            db.executemany("DELETE FROM tasks WHERE id = ?", old)
            return seen[-1][0] if seen else None

        return await self.database.write(Point.TIDY, work)

    async def remove_leftovers(self, before: int, keys_before: int, limit: int) -> int:
        def work() -> int:
            db = self.database.batch.written()
            keys = db.execute(
                "SELECT owner, key FROM idempotency WHERE created_at < ? LIMIT ?", (keys_before, limit)
            ).fetchall()
            db.executemany("DELETE FROM idempotency WHERE owner = ? AND key = ?", keys)
            strays = db.execute(
                "SELECT seq FROM events INDEXED BY events_without_task WHERE task_id IS NULL AND at < ? LIMIT ?",
                (before, limit),
            ).fetchall()
            db.executemany("DELETE FROM deliveries WHERE task_id IS NULL AND seq = ?", strays)
            db.executemany("DELETE FROM events WHERE seq = ?", strays)
            return len(keys) + len(strays) + remove_calls(db)

        return await self.database.write(Point.TIDY, work)

    async def close(self) -> None:
        await self.database.close()


async def open_store(path: str, kill_point: Callable[[str], None] | None = None) -> SqliteStore:
    """Raises DatabaseInUse, SchemaFromTheFuture, sqlite3.Error."""
    database = Database(path)
    await database.open(kill_point)
    return SqliteStore(database)
