"""Reading events on SQLite; they are written together with the move that they are about."""

from dataclasses import replace

from service.core.event import Event
from service.ports.queries import EventQuery, Rows
from service.store.sqlite.clock import seq_at
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.event_search import event_search
from service.store.sqlite.rows import event_from_row
from service.store.sqlite.unreadable import readable


class SqliteEvents:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def after(self, query: EventQuery) -> Rows[Event]:
        return await self._find(query)

    async def latest(self, query: EventQuery) -> list[Event]:
        return await self._find(query, newest_first=True)

    async def _find(self, query: EventQuery, newest_first: bool = False) -> Rows[Event]:
        while True:
            # One more row than the page has, to see whether there is another page.
            found = event_search(replace(query, limit=query.limit + 1), newest_first)
            rows = await self.database.page(found.sql, found.values, query.limit, query.max_bytes)
            events = Rows(readable(rows, event_from_row))
            events.more = rows.more
            if events or not rows.more:
                return events
            # A whole page of damaged rows: who reads on continues after the last event of a page.
            last = rows[-1][0]
            query = replace(query, up_to=last - 1) if newest_first else replace(query, after=last)

    async def last_seq(self) -> int:
        rows = await self.database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(rows[0][0]) if rows else 0

    async def seq_at(self, moment: int) -> int:
        return await seq_at(self.database, moment)
