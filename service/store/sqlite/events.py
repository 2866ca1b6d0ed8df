"""Events on SQLite, read only: they are written with the move they tell about."""

from typing import Any

from service.core.event import Event
from service.ports.queries import EventQuery, Rows
from service.store.sqlite.clock import seq_at
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.rows import EVENT_COLUMNS, event_from_row


class SqliteEvents:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database

    async def after(self, query: EventQuery) -> Rows[Event]:
        return await self._find(query, "ASC")

    async def latest(self, query: EventQuery) -> list[Event]:
        return await self._find(query, "DESC")

    async def _find(self, query: EventQuery, order: str) -> Rows[Event]:
        terms, values = ["seq > ?"], list[Any]([query.after])
        if query.up_to is not None:
            terms.append("seq <= ?")
            values.append(query.up_to)
        if query.owner is not None:
            terms.append("owner = ?")
            values.append(query.owner)
        if query.task_id is not None:
            terms.append("task_id = ?")
            values.append(query.task_id)
        if query.types is not None:
            terms.append(f"type IN ({', '.join('?' * len(query.types))})")
            values += query.types
        rows = await self.database.page(
            f"SELECT {EVENT_COLUMNS} FROM events WHERE {' AND '.join(terms)} ORDER BY seq {order} LIMIT ?",
            # One more than the page, or it could not be told whether it is the last one.
            [*values, query.limit + 1],
            query.limit,
            query.max_bytes,
        )
        events = Rows(event_from_row(row) for row in rows)
        events.more = rows.more
        return events

    async def last_seq(self) -> int:
        rows = await self.database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(rows[0][0]) if rows else 0

    async def seq_at(self, moment: int) -> int:
        return await seq_at(self.database, moment)
