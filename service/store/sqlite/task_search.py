"""The statement that finds tasks.

A condition with an index is a list of ids in their order, and a task that is sought stands in every list. So the
statement walks down from the newest: to the lowest of the next ids of all lists, where it looks, and on. That sorts
nothing, and takes no more steps than the shortest list has ids, however long the others are.
"""

from collections.abc import Iterator
from typing import NamedTuple

from service.ports.queries import TaskQuery
from service.store.sqlite.metadata import INDEXED, IS_EXACTLY
from service.store.sqlite.owners import owners_in

# As the partial indexes say it, or they are not used.
OPEN = "finished_at IS NULL AND sent_at IS NOT NULL"
RARE = "status <> 'completed' AND status <> 'processing' AND status <> 'submitted' AND status <> 'unconfirmed'"
ANY_PROVIDER = "provider <> ''"
COLUMNS = ("owner", "status", "provider", "model")
# Above every id.
TOP = "~"


class Search(NamedTuple):
    sql: str
    values: dict[str, str | int | None]
    # Through very many: two long lists may share little, and 'completed' and the ends of long texts are in none.
    may_be_long: bool


class Ids(NamedTuple):
    """A list of ids: this column of this table where the condition holds."""

    column: str
    table: str
    condition: str


def search(query: TaskQuery) -> Search:
    lists, where = list(_lists(query)), " AND ".join(_terms(query))
    if query.status in ("unconfirmed", "submitted", "processing"):
        # Few at any time, so sorting them is nothing.
        sql = f"SELECT t.state FROM tasks t INDEXED BY tasks_open WHERE {OPEN} AND {where} ORDER BY t.id DESC"
    elif lists:
        sql = f"{_walk(query, lists)} SELECT t.state FROM walk CROSS JOIN tasks t ON t.id = walk.id WHERE {where}"
    else:
        sql = f"SELECT t.state FROM tasks t WHERE {where} ORDER BY t.id DESC"
    may_be_long = len(lists) > 1 or query.status == "completed" or any(_long(*item) for item in query.metadata.items())
    return Search(f"{sql} LIMIT :limit", _values(query), may_be_long)


def _lists(query: TaskQuery) -> Iterator[Ids]:
    for n in range(len(query.metadata)):
        yield Ids("task_id", "task_metadata", f"owner = walk.owner AND key = :key{n} AND value = :value{n}")
    if query.provider is not None:
        yield Ids("id", "tasks", f"owner = walk.owner AND provider = :provider AND {ANY_PROVIDER}")
    if query.model is not None:
        yield Ids("id", "tasks", "owner = walk.owner AND model = :model")
    if query.status in ("queued", "failed", "canceled"):
        yield Ids("id", "tasks", f"owner = walk.owner AND status = :status AND {RARE}")


def _walk(query: TaskQuery, lists: list[Ids]) -> str:
    nexts = [
        f"(SELECT max({column}) FROM {table} WHERE {term} AND {column} < walk.id)" for column, table, term in lists
    ]
    return (
        f"WITH RECURSIVE owners(owner) AS ({owners_in('tasks', query.owner)}), walk(owner, id) AS ("
        "SELECT owner, :before FROM owners WHERE owner IS NOT NULL UNION ALL"
        # `:before` is never the lowest: it is there because min() of a single value would be that of all rows.
        f" SELECT walk.owner, min({', '.join(nexts)}, :before) FROM walk WHERE walk.id IS NOT NULL"
        # Without a limit SQLite leaves out the order of what is joined.
        " ORDER BY 2 DESC LIMIT -1)"
    )


def _terms(query: TaskQuery) -> Iterator[str]:
    yield "t.id < :before"
    for name in COLUMNS:
        if getattr(query, name) is not None:
            yield f"t.{name} = :{name}"
    for n, (key, value) in enumerate(query.metadata.items()):
        yield f"EXISTS (SELECT 1 FROM task_metadata WHERE task_id = t.id AND key = :key{n} AND value = :value{n})"
        if _long(key, value):
            yield IS_EXACTLY.format(key=f":whole_key{n}", value=f":whole_value{n}")


def _long(key: str, value: str) -> bool:
    return len(key) >= INDEXED or len(value) >= INDEXED


def _values(query: TaskQuery) -> dict[str, str | int | None]:
    values: dict[str, str | int | None] = {name: getattr(query, name) for name in COLUMNS}
    values |= {"before": query.before or TOP, "limit": query.limit}
    for n, (key, value) in enumerate(query.metadata.items()):
        values |= {f"key{n}": key[:INDEXED], f"value{n}": value[:INDEXED]}
        values |= {f"whole_key{n}": key, f"whole_value{n}": value}
    return values
