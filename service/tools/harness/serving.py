"""Runs an ASGI application on a free port inside the running loop: for the demo, the drill and tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def serving(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Yields the base URL; the application's lifespan is inside."""
    config = uvicorn.Config(app, host, port, log_level="error", access_log=False, timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Not `serve()`: it takes over the signals of the process and looks for the end only ten times a second.
    await server.startup()
    try:
        yield f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()
