"""Runs an ASGI application on a free port inside the running loop: for the demo, the drill and tests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.types import ASGIApp


class PromptServer(uvicorn.Server):
    """Stops as soon as its last connection has ended; uvicorn looks for that only ten times a second."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while state.connections or state.tasks:
                    await asyncio.sleep(0.002)
        for task in state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@asynccontextmanager
async def serving(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Yields the base URL; the application's lifespan is inside."""
    config = uvicorn.Config(app, host, port, log_level="error", access_log=False, timeout_graceful_shutdown=1)
    config.load()
    server = PromptServer(config)
    server.lifespan = config.lifespan_class(config)
    # Not `serve()`: it takes over the signals of the process.
    await server.startup()
    try:
        yield f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()
