"""The statement that finds deliveries: each status of each owner, or of the subscription, down its own range of an
index, and of these lists the newest ones are merged."""

from typing import Any

from service.core.delivery import DeliveryStatus
from service.ports.queries import DeliveryQuery
from service.store.limits import ABOVE_ALL
from service.store.postgres.owners import OWNERS, with_owners
from service.store.postgres.rows import DELIVERY_COLUMNS

SELECT = f"SELECT {DELIVERY_COLUMNS} FROM deliveries d"
STATUSES = [str(status) for status in DeliveryStatus]


def delivery_search(query: DeliveryQuery) -> tuple[str, list[Any]]:
    """The statement and its values."""
    values: list[Any] = [query.limit, ABOVE_ALL if query.before is None else query.before]
    given = {name: getattr(query, name) for name in ("owner", "subscription_id", "task_id", "status")}
    places = {name: _place(values, value) for name, value in given.items() if value is not None}
    where = " AND ".join(["d.n < $2", *(f"d.{name} = {place}" for name, place in places.items())])
    if "task_id" in places or not places:
        return f"{SELECT} WHERE {where} ORDER BY d.n DESC LIMIT $1", values
    statuses = places.get("status", ", ".join(f"'{status}'" for status in STATUSES))
    lists, first = f"unnest(ARRAY[{statuses}]) AS wanted(status)", "owner"
    if query.subscription_id is not None:
        first, of_first = "subscription_id", places["subscription_id"]
    elif query.owner is not None:
        of_first = places["owner"]
    else:
        lists, of_first = f"{OWNERS} CROSS JOIN {lists}", "owners.owner"
    # Compared as rows, since only that index is in the order of rows: the planner is tempted by the one of n alone.
    numbers = (
        f"SELECT n FROM deliveries WHERE ({first}, status, n) >= ({of_first}, wanted.status, 0)"
        f" AND ({first}, status, n) < ({of_first}, wanted.status, $2)"
        f" ORDER BY {first} DESC, status DESC, n DESC LIMIT $1"
    )
    merged = f"SELECT found.n FROM {lists} CROSS JOIN LATERAL ({numbers}) found ORDER BY found.n DESC LIMIT $1"
    # One by one: not knowing the limit, the planner would rather read the whole table.
    one = f"{SELECT} WHERE d.n = ids.n AND {where} LIMIT 1"
    sql = f"SELECT one.* FROM ({merged}) ids CROSS JOIN LATERAL ({one}) one ORDER BY one.n DESC LIMIT $1"
    return (f"{with_owners('deliveries')} {sql}" if "owners" in of_first else sql), values


def _place(values: list[Any], value: object) -> str:
    values.append(value)
    return f"${len(values)}::text"
