"""The store that DATABASE_URL names."""

import sqlite3
from collections.abc import Callable

from service.ports.store import Store
from service.store.errors import CannotOpen
from service.store.postgres import store as postgres
from service.store.sqlite import store as sqlite

SQLITE = "sqlite:///"


async def open_store(url: str, direct_url: str | None = None, kill_point: Callable[[str], None] | None = None) -> Store:
    """`direct_url` leads to the PostgreSQL server itself, where `url` leads to a pooler. Raises CannotOpen."""
    if not url.startswith(SQLITE):
        return await postgres.open_store(url, direct_url, kill_point)
    try:
        return await sqlite.open_store(url.removeprefix(SQLITE), kill_point)
    except sqlite3.Error as error:
        raise CannotOpen(f"DATABASE_URL: {error}") from error
