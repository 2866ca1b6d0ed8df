"""Simulated PiAPI and ModelsLab in one application, for users without a key, the demo and the tests."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette

from service.net.tls import trusted

from .context import SandboxContext
from .control import Control
from .llm import Llm
from .modelslab import ModelsLabSandbox
from .piapi import PiApiSandbox

log = logging.getLogger(__name__)


def create_sandbox(
    public_url: str | None = None, *, callback_retry: float = 5.0, callback_timeout: float = 10.0
) -> Starlette:
    """`public_url`: the base of its picture addresses, else the request's Host; the other two are seconds."""
    context = SandboxContext(public_url, callback_retry, callback_timeout)
    piapi, modelslab = PiApiSandbox(context), ModelsLabSandbox(context)
    control = Control(context, piapi, modelslab)
    routes = [*piapi.routes(), *Llm(context).routes(), *modelslab.routes(), *control.routes()]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        limits = httpx.Limits(max_connections=200, keepalive_expiry=2.0)
        timeout = httpx.Timeout(callback_timeout, pool=None)
        async with httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False, verify=trusted()) as client:
            context.open(client)
            try:
                yield
            finally:
                await context.stop_work()

    return Starlette(routes=routes, lifespan=lifespan)


def run(host: str, port: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # httpx logs every address it calls, and callback addresses hold tokens.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    log.info("sandbox providers: PIAPI_BASE_URL=http://%s:%d MODELSLAB_BASE_URL=http://%s:%d", host, port, host, port)
    # A connection held open on purpose (submit=timeout, stream=stall) must not delay the exit.
    app = create_sandbox()
    uvicorn.run(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
        # Else uvicorn takes WEB_CONCURRENCY, which is a setting of the service, and refuses to start.
        workers=1,
    )
