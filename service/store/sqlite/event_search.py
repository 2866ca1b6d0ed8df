"""The statement that finds events.

Each type of each owner is a list in the index, sorted by seq. The queue of the recursion holds the next event of every
list and gives out the first of them, so a page costs the same however many events of other types or owners lie between.
"""

from typing import Any, NamedTuple

from service.core.event import EVENT_TYPES
from service.ports.queries import EventQuery
from service.store.limits import ABOVE_ALL
from service.store.sqlite.owners import owners_in
from service.store.sqlite.rows import EVENT_COLUMNS


class EventSearch(NamedTuple):
    sql: str
    values: dict[str, Any]


def event_search(query: EventQuery, newest_first: bool) -> EventSearch:
    types = EVENT_TYPES if query.types is None else query.types
    up_to = ABOVE_ALL if query.up_to is None else query.up_to
    values = {
        "after": query.after,
        "up_to": up_to,
        "owner": query.owner,
        "limit": query.limit,
        "task_id": query.task_id,
    }
    values["start"] = up_to + 1 if newest_first else query.after
    values |= {f"type{n}": name for n, name in enumerate(types)}
    order = "DESC" if newest_first else "ASC"
    if query.task_id is not None:
        return EventSearch(_of_task(query, order), values)
    if query.types is None and query.owner is None:
        sql = f"SELECT {EVENT_COLUMNS} FROM events WHERE {_range('seq')} ORDER BY seq {order} LIMIT :limit"
        return EventSearch(sql, values)
    return EventSearch(_merged(query.owner, len(types), newest_first), values)


def _range(seq: str) -> str:
    return f"{seq} > :after AND {seq} <= :up_to"


def _of_task(query: EventQuery, order: str) -> str:
    terms = ["task_id = :task_id", _range("seq")]
    if query.owner is not None:
        terms.append("owner = :owner")
    if query.types is not None:
        terms.append(f"type IN ({', '.join(f':type{n}' for n in range(len(query.types)))})")
    where = " AND ".join(terms)
    return (
        f"SELECT {EVENT_COLUMNS} FROM events INDEXED BY events_by_task WHERE {where} ORDER BY seq {order} LIMIT :limit"
    )


def _merged(owner: str | None, types: int, newest_first: bool) -> str:
    order = "DESC" if newest_first else "ASC"
    beyond = (
        "max(seq) FROM events WHERE seq < walk.seq" if newest_first else "min(seq) FROM events WHERE seq > walk.seq"
    )
    return (
        f"WITH RECURSIVE owners(owner) AS ({owners_in('events', owner)}),"
        f" types(type) AS (VALUES {', '.join(f'(:type{n})' for n in range(types))}),"
        " walk(owner, type, seq) AS (SELECT owner, type, :start FROM owners, types WHERE owner IS NOT NULL UNION ALL"
        f" SELECT walk.owner, walk.type, (SELECT {beyond} AND owner = walk.owner AND type = walk.type"
        f" AND {_range('seq')})"
        # Without a limit SQLite leaves out the order of what is joined.
        f" FROM walk WHERE walk.seq IS NOT NULL ORDER BY 3 {order} LIMIT -1)"
        f" SELECT {', '.join(f'e.{name}' for name in EVENT_COLUMNS.split(', '))} FROM walk"
        f" CROSS JOIN events e ON e.seq = walk.seq WHERE {_range('e.seq')} LIMIT :limit"
    )
