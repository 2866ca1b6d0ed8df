"""Serve: open the store, start everything, answer until SIGTERM."""

import logging
import socket
from collections.abc import Callable

from service import __version__
from service.assembly.bridge import assemble
from service.server import bind, create_server, force_exit_after, return_large_blocks, tune_gc
from service.settings import Settings
from service.store.open import open_store
from service.web.app import EssentialOnly
from service.web.page.login import LINK_PATH

log = logging.getLogger("callbridge")
# A disk or a name server that hangs must not keep the process: what is not acknowledged is done at the next start.
STOP_SECONDS = 24.0


async def serve(
    settings: Settings,
    kill_point: Callable[[str], None] | None = None,
    show_link: Callable[[str], None] = lambda link: None,
    sockets: list[socket.socket] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT; `show_link` is given the link that signs in, in a run without API_KEYS. `sockets`
    are those that several processes share.

    Raises OSError, CannotOpen.
    """
    sockets = sockets or bind(settings.host, settings.port)
    store = await open_store(settings.database_url, settings.database_direct_url, kill_point)
    try:
        bridge = await assemble(settings, store)
        await bridge.start()
    except BaseException:
        # Its threads would keep the process alive.
        force_exit_after(STOP_SECONDS, code=1)
        await store.close()
        raise
    tune_gc()
    return_large_blocks()

    def before_shutdown() -> None:
        force_exit_after(STOP_SECONDS)
        bridge.hub.close()

    def after_startup() -> None:
        addresses = ", ".join(f"http://{_shown(one)}" for one in sockets)
        log.info("Callbridge %s listens on %s, reached at %s", __version__, addresses, settings.public_url)
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


def _shown(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
