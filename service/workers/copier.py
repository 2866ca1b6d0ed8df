"""Copy one file: download it, check its first bytes, and hash it on its way into the storage."""

import hashlib
from collections.abc import AsyncIterator

from service.core.content import HEAD_BYTES, WrongContent, is_playable, judge
from service.core.copies import FileCopy, StoredFile, name_of
from service.ports.copies import CopyStorage, Downloader, DownloadFailed


class Copier:
    def __init__(self, downloads: Downloader, storage: CopyStorage) -> None:
        self._downloads = downloads
        self._storage = storage

    async def probe(self) -> None:
        """Raises StorageUnavailable."""
        await self._storage.probe()

    async def copy(self, copy: FileCopy) -> StoredFile:
        """Raises DownloadFailed, StorageUnavailable."""
        async with self._downloads.open(copy.url) as download:
            body = _Counted(download.chunks())
            try:
                content = judge(copy.kind, await body.head(), download.path)
            except WrongContent as wrong:
                raise DownloadFailed(str(wrong)) from None
            name = name_of(copy, content.extension)
            await self._storage.put(name, body, content.media_type, download=not is_playable(content.media_type))
            return StoredFile(name, content.media_type, body.bytes, body.sha256, download.inline_name)


class _Counted:
    """A body whose first bytes can be inspected, counted and hashed as it is read."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._first = b""
        self._hash = hashlib.sha256()
        self.bytes = 0

    async def head(self) -> bytes:
        while len(self._first) < HEAD_BYTES:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                break
            self._first += chunk
        return self._first[:HEAD_BYTES]

    def __aiter__(self) -> "_Counted":
        return self

    async def __anext__(self) -> bytes:
        chunk, self._first = self._first or await anext(self._chunks), b""
        self._hash.update(chunk)
        self.bytes += len(chunk)
        return chunk

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()
