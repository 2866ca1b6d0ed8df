"""The statement that finds events: each type of each owner down its own range of the index, so that a rare one is found
as fast, and of these lists the first ones are merged."""

from typing import Any

from service.core.event import EVENT_TYPES
from service.ports.queries import EventQuery
from service.store.limits import ABOVE_ALL
from service.store.postgres.owners import OWNERS, with_owners
from service.store.postgres.rows import EVENT_COLUMNS

RANGE = "seq > $2 AND seq <= $3"


def event_search(query: EventQuery, newest_first: bool) -> tuple[str, list[Any]]:
    """The statement and its values."""
    order = "DESC" if newest_first else "ASC"
    tail = f"ORDER BY seq {order} LIMIT $1"
    values: list[Any] = [query.limit, query.after, ABOVE_ALL if query.up_to is None else query.up_to]
    if query.task_id is not None:
        return _of_task(query, values, tail), values
    if query.owner is None and query.types is None:
        return f"SELECT {EVENT_COLUMNS} FROM events WHERE {RANGE} {tail}", values
    values.append(list(EVENT_TYPES if query.types is None else query.types))
    lists, owner = "unnest($4::text[]) AS wanted(type)", "owners.owner"
    if query.owner is not None:
        values.append(query.owner)
        owner = "$5::text"
    else:
        lists = f"{OWNERS} CROSS JOIN {lists}"
    # Compared as rows, since only that index is in the order of rows: the planner is tempted by the one of seq alone.
    numbers = (
        f"SELECT seq FROM events WHERE (owner, type, seq) > ({owner}, wanted.type, $2)"
        f" AND (owner, type, seq) <= ({owner}, wanted.type, $3)"
        f" ORDER BY owner {order}, type {order}, seq {order} LIMIT $1"
    )
    merged = f"SELECT found.seq FROM {lists} CROSS JOIN LATERAL ({numbers}) found {tail}"
    # One by one: not knowing the limit, the planner would rather read the whole table.
    one = f"SELECT {EVENT_COLUMNS} FROM events WHERE seq = ids.seq LIMIT 1"
    sql = f"SELECT e.* FROM ({merged}) ids CROSS JOIN LATERAL ({one}) e ORDER BY e.seq {order} LIMIT $1"
    return (f"{with_owners('events')} {sql}" if query.owner is None else sql), values


def _of_task(query: EventQuery, values: list[Any], tail: str) -> str:
    values.append(query.task_id)
    terms = [RANGE, "task_id = $4"]
    if query.owner is not None:
        values.append(query.owner)
        terms.append(f"owner = ${len(values)}")
    if query.types is not None:
        values.append(list(query.types))
        terms.append(f"type = ANY(${len(values)})")
    return f"SELECT {EVENT_COLUMNS} FROM events WHERE {' AND '.join(terms)} {tail}"
