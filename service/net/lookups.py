"""Name lookups of subscribers, in threads of their own."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# The event loop's own pool answers two lookups at a time: a few dead name servers would delay everybody.
THREADS = 32


class Lookups:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "lookup")

    async def __call__(self, host: str, port: int, *, type: int) -> list[tuple[Any, Any, Any, Any, Any]]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, port, type=type))
