"""The store that DATABASE_URL names."""

import sqlite3
from collections.abc import Callable

from service.ports.store import Store
from service.store.errors import CannotOpen

SQLITE = "sqlite:///"


async def open_store(url: str, direct_url: str | None = None, kill_point: Callable[[str], None] | None = None) -> Store:
    """`direct_url` is that of the PostgreSQL server itself if `url` is that of a pooler. Raises CannotOpen."""
    # Only the engine that is used is imported: that of PostgreSQL takes 30 ms of a start and 3 MB.
    if not url.startswith(SQLITE):
        from service.store.postgres import store as postgres

        return await postgres.open_store(url, direct_url, kill_point)
    from service.store.sqlite import store as sqlite

    try:
        return await sqlite.open_store(url.removeprefix(SQLITE), kill_point)
    except sqlite3.Error as error:
        raise CannotOpen(f"DATABASE_URL: {error}") from error
