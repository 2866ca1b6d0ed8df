"""`python -m service archive`: copy the results of tasks that completed before RESULTS_URL was set."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import click
import uvloop

from service.assembly.copying import Copying
from service.assembly.storage import file_storage, result_storage
from service.command import settings_or_exit
from service.core.errors import CallbridgeError
from service.core.times import from_iso, now_ms
from service.environment import SettingsError, WrongSetting
from service.net.lookups import Lookups
from service.ports.copies import CopyStorage, StorageUnavailable
from service.ports.queries import TaskQuery
from service.ports.store import Store
from service.settings import Settings
from service.store.errors import CannotOpen
from service.store.open import open_store
from service.store.sqlite.lock import DatabaseInUse

PAGE = 100
# The lease of this worker; in seconds, how often it is renewed and the progress bar is drawn.
LEASE_MS, BEAT, DRAW = 18_000, 3.0, 0.2


@click.command(help="Copy the result files of tasks created since TIME that completed without copies.")
@click.option("--since", required=True, metavar="TIME", help="ISO 8601, such as 2026-01-31 or 2026-01-31T12:00:00Z.")
def command(since: str) -> None:
    try:
        moment = from_iso(since)
    except ValueError:
        raise click.BadParameter("must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z") from None
    try:
        uvloop.run(_archive(settings_or_exit(), moment))
    except DatabaseInUse as error:
        raise click.ClickException(f"{error}; a running service copies new results by itself") from None
    except (SettingsError, StorageUnavailable, CallbridgeError, CannotOpen) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("Stopped. The service copies the rest when it runs.", err=True)


@dataclass(slots=True)
class ArchiveCounts:
    """Copies that ended."""

    stored: int = 0
    failed: int = 0

    def copied(self, size: int) -> None:
        self.stored += 1

    def failed_attempt(self, final: bool) -> None:
        self.failed += final


async def _archive(settings: Settings, since: int) -> None:
    results = result_storage(settings)
    if results is None:
        raise SettingsError([WrongSetting("RESULTS_URL", "is not set, so there is nowhere to copy to")])
    await results.probe()
    store = await open_store(settings.database_url, settings.database_direct_url)
    try:
        await _copy(settings, store, results, since)
    finally:
        await store.close()


async def _copy(settings: Settings, store: Store, results: CopyStorage, since: int) -> None:
    secret = await store.secret_key(lambda: secrets.token_urlsafe(48))
    copying = Copying(settings, store.copies, file_storage(settings, store, secret), results, Lookups())
    counts = ArchiveCounts()
    copying.archiver.observers.append(counts)
    now = await store.workers.now()
    worker = ArchiveWorker((await store.workers.join(now, now + LEASE_MS)).worker)
    renewing = asyncio.create_task(_keep_renewing(store, worker))
    try:
        total = await _queue(store, since)
        copying.archiver.start(worker)
        with click.progressbar(length=total, label=f"{total} files") as bar:
            await _watch(store, lambda waiting: bar.update(total - waiting - bar.pos))
    finally:
        await copying.archiver.stop()
        renewing.cancel()
        with contextlib.suppress(CallbridgeError):
            await store.workers.renew(worker.worker, 0)
    elsewhere = total - counts.stored - counts.failed
    click.echo(
        f"{counts.stored} stored, {counts.failed} failed" + (f", {elsewhere} by the service" if elsewhere else "")
    )


async def _queue(store: Store, since: int) -> int:
    """Queue the files of these tasks. Returns how many files wait to be copied now."""
    total = (await store.copies.counts()).waiting
    before = None
    while True:
        page = await store.tasks.find(TaskQuery(None, status="completed", before=before, limit=PAGE))
        for task in page:
            if task.created_at < since:
                return total
            total += await store.copies.start(task.id, now_ms())
        if not page.more:
            return total
        before = page[-1].id


async def _watch(store: Store, show: Callable[[int], None]) -> None:
    while True:
        waiting = (await store.copies.counts()).waiting
        show(waiting)
        if not waiting:
            return
        await asyncio.sleep(DRAW)


@dataclass(frozen=True, slots=True)
class ArchiveWorker:
    """This process as a worker that only copies: it takes no lanes."""

    worker: int


async def _keep_renewing(store: Store, lease: ArchiveWorker) -> None:
    while True:
        await asyncio.sleep(BEAT)
        with contextlib.suppress(CallbridgeError):
            await store.workers.renew(lease.worker, await store.workers.now() + LEASE_MS)
