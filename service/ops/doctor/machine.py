"""Checks of this machine: database, disk, storage for results."""

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from service.files.results import open_results
from service.ops.doctor.check import Check, fail, ok, warn
from service.ports.copies import StorageUnavailable
from service.settings import Settings
from service.store.errors import CannotOpen
from service.store.examination import Examination
from service.store.postgres.examine import examine as examine_postgres
from service.store.schema import SchemaFromTheFuture
from service.store.sqlite.examine import examine

# Seconds per commit: above these, callbacks wait noticeably, or too long.
SLOW, TOO_SLOW = 0.05, 1.0
# Bytes that should be free.
LITTLE, TOO_LITTLE = 1 << 30, 100 << 20
SECONDS = 20.0


def sqlite(path: str) -> tuple[list[Check], Examination | None]:
    if not Path(path).is_file():
        detail = f"there is no database at {path} yet; the first start of the service creates it"
        return [warn("database", detail)], None
    try:
        found = examine(path)
    except SchemaFromTheFuture as error:
        return [fail("database", str(error))], None
    except sqlite3.Error as error:
        return [fail("database", f"{path} cannot be read and written: {error}; look at its owner and its disk")], None
    return [_commits(path, found.commit_seconds), *_damage(found)], found


async def postgres(url: str) -> tuple[list[Check], Examination | None]:
    try:
        found = await examine_postgres(url)
    except SchemaFromTheFuture as error:
        return [fail("database", str(error))], None
    except CannotOpen as error:
        return [fail("database", f"PostgreSQL: {error}")], None
    if found is None:
        return [warn("database", "the database is empty; `migrate` or the first start creates its schema")], None
    return [_commits("PostgreSQL", found.commit_seconds), *_damage(found)], found


def _commits(name: str, seconds: float) -> Check:
    detail = f"{name} is reachable and writable; a commit takes {seconds * 1000:.1f} ms"
    if seconds >= TOO_SLOW:
        return fail("database", f"{detail}: providers give up on callbacks that wait this long; use a faster disk")
    if seconds >= SLOW:
        return warn("database", f"{detail}: every callback waits for one; a faster disk helps")
    return ok("database", detail)


def _damage(found: Examination) -> Iterator[Check]:
    unreadable = found.unreadable
    if found.damage:
        yield fail("rows", f"the database file is damaged ({found.damage[0]}): restore it from a backup")
    elif unreadable:
        named = ", ".join(unreadable[:5]) + (", …" if len(unreadable) > 5 else "")
        yield warn("rows", f"{len(unreadable)} damaged rows were left out ({named}); restore them from a backup")
    else:
        yield ok("rows", "no damaged rows were set aside")


def disk(name: str, path: Path) -> Check:
    """The disk of `path`, or of the folder it will be in."""
    while not path.exists():
        path = path.absolute().parent
    free = shutil.disk_usage(path).free
    detail = f"{free / 1e9:.1f} GB are free at {path}"
    if free < TOO_LITTLE:
        return fail(name, f"{detail}: free some space, or intake stops soon")
    if free < LITTLE:
        return warn(name, f"{detail}: free some space")
    return ok(name, detail)


def media(path: Path) -> Check:
    """Checks MEDIA_DIR, or the folder it will be created in; leaves nothing behind."""
    nearest = path.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    try:
        tempfile.TemporaryDirectory(dir=nearest).cleanup()
    except OSError as error:
        return fail("media", f"{path} cannot be used ({error.strerror}): correct MEDIA_DIR, or the rights of {nearest}")
    return ok("media", f"{path} is writable" if path.exists() else f"{path} will be created at the first start")


async def results(settings: Settings) -> Check:
    """Write, read and delete a small file."""
    if settings.results_url is None:
        return ok("results", "RESULTS_URL is not set: result files stay with the providers, which delete them")
    missing = _missing_folder(settings.results_url)
    try:
        storage = open_results(settings.results_url, settings.max_result_bytes)
        async with asyncio.timeout(SECONDS):
            await storage.probe()
    except (ValueError, StorageUnavailable) as error:
        return fail("results", f"RESULTS_URL cannot be used: {error}")
    except TimeoutError:
        return fail("results", f"RESULTS_URL did not respond within {SECONDS:g} s; check its address and the network")
    finally:
        if missing is not None:
            with suppress(OSError):
                os.rmdir(missing)
    return ok("results", "RESULTS_URL can write, read and delete a file")


def _missing_folder(url: str) -> str | None:
    """The folder that a probe would create and leave behind."""
    path = unquote(urlsplit(url).path)
    return path if url.startswith("file:") and not os.path.exists(path) else None
