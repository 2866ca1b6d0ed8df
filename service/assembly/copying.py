"""Build the parts that copy result files: the service runs them, and so does the command `archive`."""

from dataclasses import dataclass

from service import __version__
from service.core.copies import FileCopy, StoredFile
from service.environment import SettingsError, WrongSetting
from service.files.download import FileDownloader, Limits
from service.files.results import open_results
from service.files.sources import Sources
from service.net.guard import Resolver
from service.ports.copies import Copies, CopyStore
from service.ports.files import InlineFiles
from service.settings import Settings
from service.wire.copy_addresses import CopyAddresses
from service.wire.media import MediaAddresses
from service.workers.archive import Archiver, Worker
from service.workers.copier import Copier
from service.workers.copy_removal import CopyRemover


@dataclass(frozen=True, slots=True)
class Links:
    """How files are addressed; both kinds are signed by the key that is kept with the database."""

    media: MediaAddresses
    copies: CopyAddresses


def links(public_url: str, keys: tuple[str, ...]) -> Links:
    return Links(MediaAddresses(public_url, keys), CopyAddresses(public_url, keys))


def results_of(settings: Settings) -> CopyStore | None:
    """The place of RESULTS_URL. Raises SettingsError."""
    if settings.results_url is None:
        return None
    try:
        return open_results(settings.results_url, settings.max_result_bytes)
    except ValueError as error:
        raise SettingsError([WrongSetting("RESULTS_URL", str(error))]) from None


class Copying:
    """The archive worker and what deletes the copies of removed tasks."""

    def __init__(
        self,
        settings: Settings,
        copies: Copies,
        kept: CopyStore,
        inline: InlineFiles,
        links: Links,
        resolver: Resolver,
    ) -> None:
        downloads = FileDownloader(
            Limits(settings.max_result_bytes),
            private=settings.private_targets,
            agent=f"Callbridge/{__version__}",
            resolver=resolver,
        )
        copier = Copier(Sources(downloads, inline, links.media, copies, kept), kept)

        def address(copy: FileCopy, file: StoredFile) -> str:
            return links.copies.of(copy.task_id, copy.position, file.name)

        self.archiver = Archiver(copies, copier, inline, address, settings.copy_retry_schedule)
        self.remover = CopyRemover(copies, kept)

    def start(self, worker: Worker) -> None:
        self.archiver.start(worker)
        self.remover.start()

    async def stop(self) -> None:
        await self.remover.stop()
        await self.archiver.stop()
