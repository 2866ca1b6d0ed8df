"""Reading events on PostgreSQL; they are written together with the move that they are about."""

from contextlib import aclosing
from dataclasses import replace

from service.core.event import Event
from service.ports.queries import EventQuery, Rows
from service.store.postgres.clock import seq_at
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.event_search import event_search
from service.store.postgres.feed import ChangeFeed
from service.store.postgres.rows import event_of
from service.store.postgres.tasks import is_full


class PostgresEvents:
    def __init__(self, database: PostgresDatabase, feed: ChangeFeed) -> None:
        self.database = database
        self.feed = feed

    async def after(self, query: EventQuery) -> Rows[Event]:
        return await self._find(query)

    async def latest(self, query: EventQuery) -> list[Event]:
        return await self._find(query, newest_first=True)

    async def _find(self, query: EventQuery, newest_first: bool = False) -> Rows[Event]:
        # One more row than the page has, to see whether there is another page.
        sql, values = event_search(replace(query, limit=query.limit + 1), newest_first)
        found, size = Rows[Event](), 0
        async with aclosing(self.database.pages(sql, *values)) as rows:
            async for row in rows:
                if is_full(query.limit, query.max_bytes, len(found), size):
                    found.more = True
                    break
                found.append(event_of(row))
                size += len(row["body"])
        return found

    async def last_seq(self) -> int:
        return await self.feed.read()

    async def seq_at(self, moment: int) -> int:
        return await seq_at(self.database, moment)
