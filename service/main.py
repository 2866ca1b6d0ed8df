"""Open the store, start everything, and serve until SIGTERM."""

import logging
import socket
from collections.abc import Callable

from service import __version__
from service.assembly.bridge import Bridge, assemble
from service.server import bind, create_server, force_exit_after, return_large_blocks, tune_gc
from service.settings import Settings
from service.store.open import open_store
from service.web.app import EssentialOnly
from service.web.page.login import LINK_PATH

log = logging.getLogger("callbridge")
# A hanging disk or name server must not keep the process alive: the next start does what was not acknowledged.
STOP_SECONDS = 24.0


async def serve(
    settings: Settings,
    kill_point: Callable[[str], None] | None = None,
    show_link: Callable[[str], None] = lambda link: None,
    sockets: list[socket.socket] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT. `show_link` gets the sign-in link of a run without API_KEYS; `sockets` are shared by
    several processes.

    Raises OSError, CannotOpen.
    """
    sockets = sockets or bind(settings.host, settings.port)
    bridge = await _start(settings, kill_point)
    tune_gc()
    return_large_blocks()

    def before_shutdown() -> None:
        force_exit_after(STOP_SECONDS)
        bridge.hub.close()

    def after_startup() -> None:
        addresses = ", ".join(f"http://{_shown(one)}" for one in sockets)
        log.info("Callbridge %s listens on %s, public URL %s", __version__, addresses, settings.public_url)
        if settings.made_key:
            show_link(f"http://{_shown(sockets[0])}{LINK_PATH}{bridge.web.site.gate.sessions.link_token()}")

    server = create_server(
        bridge.web.app,
        settings.host,
        settings.port,
        before_shutdown,
        essential_app=EssentialOnly(bridge.web.app),
        after_startup=after_startup,
    )
    try:
        await server.serve(sockets)
    finally:
        await bridge.stop()
        log.info("Callbridge %s stopped", __version__)


async def _start(settings: Settings, kill_point: Callable[[str], None] | None) -> Bridge:
    store = await open_store(settings.database_url, settings.database_direct_url, kill_point)
    try:
        bridge = await assemble(settings, store)
        await bridge.start()
    except BaseException:
        # The threads of the store would keep the process alive.
        force_exit_after(STOP_SECONDS, code=1)
        await store.close()
        raise
    return bridge


def _shown(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
