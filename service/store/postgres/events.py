"""Events on PostgreSQL, read only: they are written with the move they tell about."""

from contextlib import aclosing
from typing import Any

from service.core.event import Event
from service.ports.queries import EventQuery, Rows
from service.store.postgres.clock import seq_at
from service.store.postgres.database import PostgresDatabase
from service.store.postgres.feed import ChangeFeed
from service.store.postgres.rows import EVENT_COLUMNS, event_of
from service.store.postgres.tasks import is_full


class PostgresEvents:
    def __init__(self, database: PostgresDatabase, feed: ChangeFeed) -> None:
        self.database = database
        self.feed = feed

    async def after(self, query: EventQuery) -> Rows[Event]:
        return await self._find(query, "ASC")

    async def latest(self, query: EventQuery) -> list[Event]:
        return await self._find(query, "DESC")

    async def _find(self, query: EventQuery, order: str) -> Rows[Event]:
        # One more than the page, or it could not be told whether it is the last one.
        values: list[Any] = [query.limit + 1, query.after]
        terms = ["seq > $2"]
        for term, given in (
            ("seq <= ${}", query.up_to),
            ("owner = ${}", query.owner),
            ("task_id = ${}", query.task_id),
        ):
            if given is not None:
                values.append(given)
                terms.append(term.format(len(values)))
        where, tail = " AND ".join(terms), f"ORDER BY seq {order} LIMIT $1"
        sql = f"SELECT {EVENT_COLUMNS} FROM events WHERE {where} {tail}"
        if query.types is not None and query.task_id is None:
            # Each type down its own range of the index, so that a rare one is found as fast.
            values.append(list(query.types))
            sql = (
                f"SELECT found.* FROM unnest(${len(values)}::text[]) AS wanted(type) CROSS JOIN LATERAL"
                f" (SELECT {EVENT_COLUMNS} FROM events WHERE {where} AND type = wanted.type {tail}) found {tail}"
            )
        elif query.types is not None:
            values.append(list(query.types))
            sql = f"SELECT {EVENT_COLUMNS} FROM events WHERE {where} AND type = ANY(${len(values)}) {tail}"
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
