"""The baseline of the callback door: a starlette application that reads the body and returns 200."""

import asyncio
import socket

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def take(request: Request) -> Response:
    await request.body()
    return Response()


async def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    app = Starlette(routes=[Route("/webhooks/piapi/{token}", take, methods=["POST"])])
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", access_log=False, log_level="warning", server_header=False
    )
    print(listening.getsockname()[1], flush=True)
    await asyncio.gather(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    uvloop.run(main())
