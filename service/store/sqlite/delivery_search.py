"""The statement that finds deliveries.

Each subscription of each owner is a list in the index, newest first, and so are the dead ones of each owner. The queue
of the recursion holds the next delivery of every list and gives out the newest: nothing is sorted, and what lies
between costs nothing. Those that wait are in the index of the queue, in another order: as a rule they are few, and
sorted.
"""

from typing import Any, NamedTuple

from service.core.delivery import DeliveryStatus
from service.core.subscription import LANE_OF_URL
from service.ports.queries import DeliveryQuery
from service.store.limits import ABOVE_ALL
from service.store.sqlite.owners import owners_in
from service.store.sqlite.rows import DELIVERY_COLUMNS

SELECT = f"SELECT {DELIVERY_COLUMNS}"
# The indexes that are walked. The id '' stands for deliveries to the callback_url of a task.
OF_SUBSCRIPTION = "owner = walk.owner AND subscription_id IS nullif(walk.subscription_id, '')"
DEAD = "status = 'dead' AND owner = walk.owner"
SUBSCRIPTIONS = (
    "SELECT owner, '' FROM owners WHERE owner IS NOT NULL UNION ALL"
    " SELECT owner, (SELECT min(subscription_id) FROM deliveries d"
    " WHERE d.owner = named.owner AND d.subscription_id > named.subscription_id)"
    " FROM named WHERE named.subscription_id IS NOT NULL"
)


class DeliverySearch(NamedTuple):
    """`slow`: it may read any number of rows that do not match."""

    sql: str
    values: dict[str, Any]
    slow: bool = False


def delivery_search(query: DeliveryQuery) -> DeliverySearch:
    columns = ("owner", "subscription_id", "task_id", "status")
    given = {name: getattr(query, name) for name in columns if getattr(query, name) is not None}
    where = " AND ".join(["d.n < :before", *(f"d.{name} = :{name}" for name in given)])
    values = {
        "before": ABOVE_ALL if query.before is None else query.before,
        "limit": query.limit,
        "owner": None,
    } | given
    tail = "ORDER BY d.n DESC LIMIT :limit"
    if query.task_id is not None:
        return DeliverySearch(f"{SELECT} FROM deliveries d INDEXED BY deliveries_by_task WHERE {where} {tail}", values)
    if query.status == DeliveryStatus.PENDING:
        values |= {"lanes": f"{LANE_OF_URL}{query.owner}:", "end_of_lanes": f"{LANE_OF_URL}{query.owner};"}
        found, waiting = _waiting(query)
        return DeliverySearch(
            f"{found} {SELECT} FROM deliveries d NOT INDEXED WHERE d.n IN ({waiting}) AND {where} {tail}", values, True
        )
    if query.owner is None and query.subscription_id is None and query.status != DeliveryStatus.DEAD:
        return DeliverySearch(f"{SELECT} FROM deliveries d WHERE {where} {tail}", values, query.status is not None)
    sql = f"{_walk(query)} {SELECT} FROM walk CROSS JOIN deliveries d ON d.n = walk.n WHERE {where} LIMIT :limit"
    return DeliverySearch(sql, values, query.status == DeliveryStatus.DELIVERED)


def _named(query: DeliveryQuery) -> str:
    return (
        f"WITH RECURSIVE owners(owner) AS ({owners_in('deliveries', query.owner)}),"
        f" named(owner, subscription_id) AS ({SUBSCRIPTIONS})"
    )


def _waiting(query: DeliveryQuery) -> tuple[str, str]:
    waiting = "SELECT n FROM deliveries INDEXED BY deliveries_queue WHERE status = 'pending'"
    if query.subscription_id is not None:
        return "", f"{waiting} AND lane = :subscription_id"
    if query.owner is None:
        return "", waiting
    lanes = "lane IN (SELECT subscription_id FROM named)"
    return _named(query), f"{waiting} AND {lanes} UNION ALL {waiting} AND lane >= :lanes AND lane < :end_of_lanes"


def _walk(query: DeliveryQuery) -> str:
    dead = query.status == DeliveryStatus.DEAD
    lists = [("deliveries INDEXED BY deliveries_dead", DEAD)] if dead else []
    if query.subscription_id is not None or not dead:
        lists.append(("deliveries INDEXED BY deliveries_by_owner", OF_SUBSCRIPTION))
    nexts = ", ".join(f"(SELECT max(n) FROM {table} WHERE {term} AND n < walk.n)" for table, term in lists)
    start = "SELECT owner, subscription_id, :before FROM named WHERE subscription_id IS NOT NULL"
    if query.subscription_id is not None or dead:
        name = "''" if query.subscription_id is None else ":subscription_id"
        start = f"SELECT owner, {name}, :before FROM owners WHERE owner IS NOT NULL"
    return (
        f"{_named(query)}, walk(owner, subscription_id, n) AS ({start} UNION ALL"
        # `:before` is never the lowest: it is there because min() of a single value would be that of all rows.
        f" SELECT walk.owner, walk.subscription_id, min({nexts}, :before) FROM walk WHERE walk.n IS NOT NULL"
        # Without a limit SQLite leaves out the order of what is joined.
        " ORDER BY 3 DESC LIMIT -1)"
    )
