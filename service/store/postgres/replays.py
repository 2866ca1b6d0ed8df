"""Replays on PostgreSQL: each row is a cursor."""

from collections.abc import Sequence

from service.core.event import Event
from service.core.points import Point
from service.core.subscription import Recipient, Subscription
from service.ports.replays import Replay
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.publish import DirectDelivery, Publisher
from service.store.refusals import replay_is_running


class PostgresReplays:
    def __init__(self, database: PostgresDatabase, publisher: Publisher) -> None:
        self.database = database
        self.publisher = publisher

    async def start(self, replay: Replay) -> None:
        async with self.publisher.transaction(Point.REPLAY) as (unit, _):
            done = await unit.connection.execute(
                "INSERT INTO replays VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                replay.subscription_id,
                replay.after,
                replay.up_to,
                list(replay.types),
            )
            if done == "INSERT 0 0":
                raise replay_is_running()

    async def open(self) -> list[Replay]:
        rows = await self.database.rows("SELECT subscription_id, after, up_to, types FROM replays")
        return [Replay(row["subscription_id"], row["after"], row["up_to"], tuple(row["types"])) for row in rows]

    async def step(
        self, replay: Replay, subscription: Subscription, events: Sequence[Event], after: int, now: int
    ) -> None:
        name = replay.subscription_id
        recipient = Recipient(name, name, subscription.url)
        async with self.publisher.transaction(Point.REPLAY) as (unit, outbox):
            if after >= replay.up_to:
                moved = await unit.connection.execute(
                    "DELETE FROM replays WHERE subscription_id = $1 AND after = $2", name, replay.after
                )
            else:
                moved = await unit.connection.execute(
                    "UPDATE replays SET after = $3 WHERE subscription_id = $1 AND after = $2", name, replay.after, after
                )
            if moved.endswith(" 0"):
                return
            # Retention may have removed some since they were read, and a delivery without its event could not be sent.
            seqs = [event.seq for event in events]
            rows = await unit.connection.fetch("SELECT seq FROM events WHERE seq = ANY($1)", seqs)
            left = {row["seq"] for row in rows}
            outbox.direct += [DirectDelivery(event, recipient, now) for event in events if event.seq in left]

    async def end(self, subscription_id: str) -> None:
        await self.database.write(Point.REPLAY, "DELETE FROM replays WHERE subscription_id = $1", subscription_id)

    async def count(self, owner: str, replay: Replay) -> int:
        rows = await self.database.long_rows(
            "SELECT count(*) AS n FROM events WHERE owner = $1 AND seq > $2 AND seq <= $3 AND type = ANY($4)",
            owner,
            replay.after,
            replay.up_to,
            list(replay.types),
        )
        return int(rows[0]["n"])
