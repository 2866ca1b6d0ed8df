"""Where a result file is read from: inline files from our own storage, all others from the provider."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from service.files.bodies import FileOnItsWay
from service.ports.copies import CopyMissing, CopyStorage, Download, Downloader, DownloadFailed, StoredCopies
from service.ports.files import InlineFiles
from service.wire.media import MediaAddresses

READ_BYTES = 256 * 1024
INLINE_PATH = "/media/"


class Sources:
    """Implements `ports.copies.Downloader`."""

    def __init__(
        self,
        downloads: Downloader,
        inline: InlineFiles,
        media: MediaAddresses,
        copies: StoredCopies,
        storage: CopyStorage,
    ) -> None:
        self._downloads = downloads
        self._inline = inline
        self._media = media
        self._copies = copies
        self._storage = storage

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[Download]:
        name = self._inline_name(url)
        if name is not None:
            yield FileOnItsWay(name, await self._open_inline(name), name)
            return
        async with self._downloads.open(url) as download:
            yield download

    def _inline_name(self, url: str) -> str | None:
        path = urlsplit(url).path
        return self._media.name_of(path.removeprefix(INLINE_PATH)) if path.startswith(INLINE_PATH) else None

    async def _open_inline(self, name: str) -> AsyncIterator[bytes]:
        found = await self._inline.find(name)
        if found is not None:
            return _chunks(found) if isinstance(found, Path) else found.read()
        # The same inline picture was copied for another task and then removed here.
        copy = await self._copies.stored_inline(name)
        if copy is not None:
            try:
                return await self._storage.read(copy.name, 0, copy.bytes)
            except CopyMissing:
                pass
        raise DownloadFailed("The inline file is no longer stored.", final=True)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    data = await asyncio.to_thread(path.read_bytes)
    for start in range(0, len(data), READ_BYTES):
        yield data[start : start + READ_BYTES]
