"""Replays on SQLite: each row is a cursor."""

from collections.abc import Sequence

import orjson

from service.core.event import Event
from service.core.points import Point
from service.core.subscription import Recipient, Subscription
from service.ports.replays import Replay
from service.store.refusals import replay_is_running
from service.store.sqlite.database import SqliteDatabase


class SqliteReplays:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def start(self, replay: Replay) -> None:
        row = (replay.subscription_id, replay.after, replay.up_to, orjson.dumps(replay.types).decode())

        def work() -> None:
            added = self.database.db.execute("INSERT OR IGNORE INTO replays VALUES (?, ?, ?, ?)", row).rowcount
            if not added:
                raise replay_is_running()

        await self.database.write(Point.REPLAY, work)

    async def open(self) -> list[Replay]:
        rows = await self.database.rows("SELECT subscription_id, after, up_to, types FROM replays")
        return [Replay(name, after, up_to, tuple(orjson.loads(types))) for name, after, up_to, types in rows]

    async def step(
        self, replay: Replay, subscription: Subscription, events: Sequence[Event], after: int, now: int
    ) -> None:
        name = replay.subscription_id
        recipient = Recipient(name, name, subscription.url)

        def work() -> None:
            db = self.database.batch.written()
            if after >= replay.up_to:
                moved = db.execute("DELETE FROM replays WHERE subscription_id = ? AND after = ?", (name, replay.after))
            else:
                moved = db.execute(
                    "UPDATE replays SET after = ? WHERE subscription_id = ? AND after = ?", (after, name, replay.after)
                )
            if not moved.rowcount:
                return
            for event in events:
                # Retention may have removed it since it was read, and a delivery without its event could not be sent.
                if db.execute("SELECT 1 FROM events WHERE seq = ?", (event.seq,)).fetchone():
                    self.database.enqueue(event, recipient, now)

        await self.database.write(Point.REPLAY, work)

    async def end(self, subscription_id: str) -> None:
        def work() -> None:
            self.database.db.execute("DELETE FROM replays WHERE subscription_id = ?", (subscription_id,))

        await self.database.write(Point.REPLAY, work)

    async def count(self, owner: str, replay: Replay) -> int:
        marks = ", ".join("?" * len(replay.types))
        rows = await self.database.long_rows(
            f"SELECT count(*) FROM events WHERE owner = ? AND seq > ? AND seq <= ? AND type IN ({marks})",
            (owner, replay.after, replay.up_to, *replay.types),
        )
        return int(rows[0][0])
