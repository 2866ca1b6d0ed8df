"""Checks of settings that need the machine, made before the server listens, and warnings."""

import errno
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from service.environment import WrongSetting
from service.server import bind
from service.settings import LOOPBACK, Settings

# "Every address" of IPv4 and IPv6: nobody can call these.
EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not listened on


def unusable(settings: Settings, wrong: list[WrongSetting]) -> list[WrongSetting]:
    """Settings that cannot be used, besides those known to be `wrong`."""
    known = {one.name for one in wrong}
    checks: tuple[tuple[set[str], Callable[[Settings], WrongSetting | None]], ...] = (
        ({"HOST", "PORT"}, _address),
        ({"DATABASE_URL"}, _database),
        ({"MEDIA_DIR"}, _media_folder),
    )
    found = (check(settings) for names, check in checks if not names & known)
    return [one for one in found if one is not None]


def warnings(settings: Settings) -> Iterator[str]:
    if not (settings.piapi_api_key or settings.modelslab_api_key):
        yield "Neither PIAPI_API_KEY nor MODELSLAB_API_KEY is set: every task will be refused."
    if settings.public_url_is_derived and _unreachable(settings.public_url) and _remote_providers(settings):
        yield (
            f"PUBLIC_URL is not set, so providers are given {settings.public_url}, which they cannot reach: tasks "
            "finish late, when the provider is polled. Set it to the address under which this service can be reached."
        )
    if settings.web_concurrency > 1 and settings.sqlite_path is not None:
        yield f"WEB_CONCURRENCY={settings.web_concurrency} has no effect with SQLite, which one process serves."


def _address(settings: Settings) -> WrongSetting | None:
    try:
        for one in bind(settings.host, settings.port):
            one.close()
    except socket.gaierror:
        return WrongSetting("HOST", f"{settings.host!r} does not resolve to an address")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return WrongSetting("PORT", f"{settings.port} is in use by another program")
        if error.errno == errno.EACCES:
            return WrongSetting("PORT", f"{settings.port} needs privileges that this process does not have")
        return WrongSetting("HOST", f"cannot listen on {settings.host}: {error.strerror}")
    return None


def _database(settings: Settings) -> WrongSetting | None:
    if settings.sqlite_path is None:
        return None
    path = Path(settings.sqlite_path)
    if path.is_dir():
        return WrongSetting("DATABASE_URL", f"{path} is a folder")
    if not path.parent.is_dir():
        return WrongSetting("DATABASE_URL", f"the folder {path.parent} does not exist")
    for one in (path, path.parent):
        if one.exists() and not os.access(one, os.W_OK):
            return WrongSetting("DATABASE_URL", f"{one} cannot be written")
    return None


def _media_folder(settings: Settings) -> WrongSetting | None:
    """Not needed on PostgreSQL, where pictures are kept in the database."""
    if settings.sqlite_path is None:
        return None
    try:
        Path(settings.media_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.media_dir):
            pass
    except OSError as error:
        return WrongSetting("MEDIA_DIR", f"{settings.media_dir} cannot be used: {error.strerror}")
    return None


def _unreachable(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in LOOPBACK | EVERY_ADDRESS


def _remote_providers(settings: Settings) -> bool:
    used = []
    if settings.piapi_api_key:
        used += [settings.piapi_base_url, settings.piapi_llm_base_url]
    if settings.modelslab_api_key:
        used.append(settings.modelslab_base_url)
    return any(urlsplit(url).hostname not in LOOPBACK for url in used)
