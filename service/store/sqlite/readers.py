"""Connections that only read, each with a thread of its own."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiosqlite

from service.core.errors import Unavailable
from service.store.sqlite.unreadable import lenient_text

log = logging.getLogger("callbridge.store")


class Readers:
    def __init__(self, path: str, count: int) -> None:
        self._path = path
        self.count = count
        self._free: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()

    async def open(self) -> None:
        for _ in range(self.count):
            reader = await aiosqlite.connect(self._path, timeout=5, isolation_level=None)
            await reader.execute("PRAGMA query_only = ON")
            reader.text_factory = lenient_text
            self._free.put_nowait(reader)

    async def close(self) -> None:
        """Waits for those in use."""
        for _ in range(self.count):
            await (await self._free.get()).close()

    @asynccontextmanager
    async def take(self) -> AsyncIterator[aiosqlite.Connection]:
        """First come, first served. Raises Unavailable when the file cannot be read."""
        connection = await self._free.get()
        try:
            yield connection
        except sqlite3.Error as error:
            log.error("the store cannot be read: %s", error)
            raise Unavailable("The store cannot be read at the moment; try again.", retry_after=5) from None
        finally:
            self._free.put_nowait(connection)
