"""The workers that copy result files: the service runs them, and so does the command `archive`."""

from service import __version__
from service.assembly.storage import FileStorage
from service.core.copies import FileCopy, StoredFile
from service.files.download import FileDownloader, Limits
from service.files.sources import Sources
from service.net.guard import Resolver
from service.ports.copies import Copies, CopyStorage
from service.settings import Settings
from service.workers.archive import Archiver, Worker
from service.workers.copier import Copier
from service.workers.copy_removal import CopyRemover


class Copying:
    """Copies what is queued in `copies` into `results`, and deletes the copies of removed tasks."""

    def __init__(
        self, settings: Settings, copies: Copies, files: FileStorage, results: CopyStorage, resolver: Resolver
    ) -> None:
        downloads = FileDownloader(
            Limits(settings.max_result_bytes),
            private=settings.private_targets,
            agent=f"Callbridge/{__version__}",
            resolver=resolver,
        )
        copier = Copier(Sources(downloads, files.inline, files.inline_addresses, copies, results), results)

        def address(copy: FileCopy, file: StoredFile) -> str:
            return files.copy_addresses.of(copy.task_id, copy.position, file.name)

        self.archiver = Archiver(copies, copier, files.inline, address, settings.copy_retry_schedule)
        self.remover = CopyRemover(copies, results)

    def start(self, worker: Worker) -> None:
        self.archiver.start(worker)
        self.remover.start()

    async def stop(self) -> None:
        await self.remover.stop()
        await self.archiver.stop()
