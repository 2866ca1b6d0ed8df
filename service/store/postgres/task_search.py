"""The statement that finds tasks: down one index from the newest, with the other conditions checked on the way."""

from collections.abc import Iterable, Iterator
from typing import Any

from service.ports.queries import TaskQuery
from service.store.postgres.metadata import INDEXED
from service.store.postgres.owners import OWNERS, with_owners
from service.store.postgres.rows import text

# As the partial indexes say it, or they are not used.
OPEN = "finished_at IS NULL AND sent_at IS NOT NULL"
RARE = "status IN ('queued', 'failed', 'canceled')"


def search(query: TaskQuery, most: int | None) -> tuple[str, list[Any]]:
    """The statement and its values; at most `most` rows."""
    values = _Values()
    limit = f"LIMIT {values.add(most)}"
    pairs = list(query.metadata.items())
    terms = [f"t.{name} = {values.add(text(given))}" for name, given in _columns(query)]
    if query.status in ("queued", "failed", "canceled"):
        terms.append(f"t.{RARE}")
    if query.status in ("unconfirmed", "submitted", "processing"):
        # Few at any time, so sorting them is nothing.
        where = " AND ".join([OPEN, *_of_owner(query, values), *terms, *_before(query, values), *_has(pairs, values)])
        sql = f"WITH open AS MATERIALIZED (SELECT t.id, t.state FROM tasks t WHERE {where})"
        return f"{sql} SELECT state FROM open ORDER BY id DESC {limit}", values
    if pairs and query.owner is not None:
        # The first pair leads: its ids are in order in the index.
        lead = [
            f"m.{name} = {values.add(given)}"
            for name, given in zip(("owner", "key", "value"), (query.owner, *_indexed(*pairs[0])), strict=True)
        ]
        where = " AND ".join([*lead, *terms, *_before(query, values, "m.task_id"), *_has(pairs[1:], values)])
        sql = f"SELECT t.state FROM task_metadata m JOIN tasks t ON t.id = m.task_id WHERE {where}"
        return f"{sql} ORDER BY m.task_id DESC {limit}", values
    rest = [*terms, *_before(query, values), *_has(pairs, values)]
    if query.owner is not None:
        where = " AND ".join([*_of_owner(query, values), *rest])
        return f"SELECT t.state FROM tasks t WHERE {where} ORDER BY t.id DESC {limit}", values
    where = " AND ".join(["t.owner = owners.owner", *rest])
    newest = f"SELECT t.id, t.state FROM tasks t WHERE {where} ORDER BY t.id DESC {limit}"
    # Each owner has an index range of its own, newest first.
    sql = f"{with_owners('tasks')} SELECT newest.state FROM {OWNERS} CROSS JOIN LATERAL ({newest}) newest"
    return f"{sql} ORDER BY newest.id DESC {limit}", values


class _Values(list[Any]):
    def add(self, given: object) -> str:
        """How the statement calls it."""
        self.append(given)
        return f"${len(self)}"


def _columns(query: TaskQuery) -> Iterator[tuple[str, str]]:
    for name in ("status", "provider", "model"):
        given = getattr(query, name)
        if given is not None:
            yield name, given


def _of_owner(query: TaskQuery, values: _Values) -> list[str]:
    return [] if query.owner is None else [f"t.owner = {values.add(query.owner)}"]


def _before(query: TaskQuery, values: _Values, column: str = "t.id") -> list[str]:
    return [] if query.before is None else [f"{column} < {values.add(query.before)}"]


def _indexed(key: str, value: str) -> tuple[str, str]:
    return text(key[:INDEXED]), text(value[:INDEXED])


def _has(pairs: Iterable[tuple[str, str]], values: _Values) -> list[str]:
    return [
        "EXISTS (SELECT 1 FROM task_metadata h WHERE h.task_id = t.id"
        f" AND h.key = {values.add(key)} AND h.value = {values.add(value)})"
        for key, value in (_indexed(*pair) for pair in pairs)
    ]
