"""Files by their signed addresses: copies of results, and files that a provider sent inline."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from service.core.content import is_playable
from service.core.copies import StoredFile
from service.core.errors import NotFound, Unavailable
from service.ports.copies import CopyMissing, CopyStorage, StorageUnavailable, StoredCopies
from service.ports.files import InlineFiles, Pieces
from service.web.operations import public as operations
from service.web.operations.operation import Endpoint
from service.web.ranges import Unsatisfiable, byte_range
from service.wire.copy_addresses import CopyAddresses
from service.wire.media import MediaAddresses, content_type_of

# Lifetime of the address at the object store that a reader is redirected to.
LINK_SECONDS = 900
READ_BYTES = 256 * 1024
HEADERS = {
    "cache-control": "private, max-age=86400",
    "x-content-type-options": "nosniff",
    # A provider's file must not run as a page of this origin, nor load anything but itself.
    "content-security-policy": (
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
    ),
    # Pages of other origins may show it: the signed address is the only credential.
    "cross-origin-resource-policy": "cross-origin",
}
GONE = "There is no such file; it may be older than RETENTION_DAYS."


@dataclass(frozen=True, slots=True)
class FileRoutes:
    """`kept` None: RESULTS_URL is not set."""

    inline: InlineFiles
    media: MediaAddresses
    work: StoredCopies
    copies: CopyAddresses
    kept: CopyStorage | None

    def endpoints(self) -> list[Endpoint]:
        return [(operations.MEDIA, self.came_inline), (operations.RESULT, self.copy)]

    async def came_inline(self, request: Request) -> Response:
        name = self.media.name_of(request.path_params["token"])
        if name is None:
            raise NotFound(GONE)
        found = await self.inline.find(name)
        try:
            # Opened before the response starts: the file is removed here once it has been copied.
            file = await asyncio.to_thread(found.open, "rb") if isinstance(found, Path) else found
        except FileNotFoundError:
            file = None
        if file is None:
            return await self._serve(request, await self.work.stored_inline(name))
        return _whole(file, content_type_of(name))

    async def copy(self, request: Request) -> Response:
        named = self.copies.read(request.path_params["token"])
        file = None if named is None else await self.work.stored(*named)
        if file is not None and file.name.rpartition("/")[2] != request.path_params["name"]:
            raise NotFound(GONE)
        return await self._serve(request, file)

    async def _serve(self, request: Request, file: StoredFile | None) -> Response:
        if file is None:
            raise NotFound(GONE)
        if self.kept is None:
            raise NotFound("Copies are not served: RESULTS_URL is not set.")
        link = await self.kept.link(request.method, file.name, LINK_SECONDS)
        if link is not None:
            return RedirectResponse(link, headers={"cache-control": "no-store"})
        try:
            return await self._stream(request, file, self.kept)
        except CopyMissing:
            raise NotFound("The copy is no longer at RESULTS_URL.") from None
        except StorageUnavailable as trouble:
            raise Unavailable(str(trouble), retry_after=10) from None

    async def _stream(self, request: Request, file: StoredFile, kept: CopyStorage) -> Response:
        etag = f'"{file.sha256}"'
        headers = {**_headers(file.media_type, file.name), "etag": etag, "accept-ranges": "bytes"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        fresh = request.headers.get("if-range", etag) == etag
        try:
            part = byte_range(request.headers.get("range") if fresh else None, file.bytes)
        except Unsatisfiable:
            return Response(status_code=416, headers={"content-range": f"bytes */{file.bytes}"})
        start, end = part or (0, file.bytes)
        headers["content-length"] = str(end - start)
        if part is not None:
            headers["content-range"] = f"bytes {start}-{end - 1}/{file.bytes}"
        status = 200 if part is None else 206
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        chunks: AsyncIterator[bytes] = await kept.read(file.name, start, end)
        return StreamingResponse(chunks, status_code=status, headers=headers)


def _whole(file: BinaryIO | Pieces, media_type: str) -> Response:
    if isinstance(file, Pieces):
        size, chunks = file.size, file.read()
    else:
        size, chunks = os.fstat(file.fileno()).st_size, _chunks(file)
    return StreamingResponse(chunks, headers={**_headers(media_type, ""), "content-length": str(size)})


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, READ_BYTES):
            yield chunk


def _headers(media_type: str, name: str) -> dict[str, str]:
    shown = "inline" if is_playable(media_type) else "attachment"
    file_name = f'; filename="{name.rpartition("/")[2]}"' if name else ""
    return {**HEADERS, "content-type": media_type, "content-disposition": shown + file_name}
