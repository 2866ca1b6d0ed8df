"""Whether notifications come through: a pooler that gives each transaction another session swallows them."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from service.store.errors import CannotOpen

if TYPE_CHECKING:
    import asyncpg

# Seconds. One that comes takes a millisecond.
WAIT = 3.0
NO_DIRECT_URL = (
    "notifications do not come through at DATABASE_URL, which leads to a pooler in transaction mode:"
    " set DATABASE_DIRECT_URL to the address of the server itself"
)
WRONG_DIRECT_URL = (
    "what is sent at DATABASE_URL is not heard at DATABASE_DIRECT_URL: both must lead to the same database,"
    " and DATABASE_DIRECT_URL to the server itself"
)


class NotificationsLost(CannotOpen):
    """The sentence says which setting to change."""

    def __init__(self, has_direct_url: bool) -> None:
        super().__init__(WRONG_DIRECT_URL if has_direct_url else NO_DIRECT_URL)


async def hears(listener: "asyncpg.Connection[asyncpg.Record]", pool: "asyncpg.Pool[asyncpg.Record]") -> bool:
    """Whether `listener` hears what is sent through the pool."""
    heard = asyncio.Event()
    channel = f"callbridge_{uuid4().hex}"
    await listener.add_listener(channel, lambda *_: heard.set())
    await pool.execute("SELECT pg_notify($1, '')", channel)
    with suppress(TimeoutError):
        await asyncio.wait_for(heard.wait(), WAIT)
    return heard.is_set()
