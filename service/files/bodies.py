"""Steps of reading a response body: minimum speed, decoding, size limit."""

import zlib
from collections.abc import AsyncIterator
from time import monotonic

from service.ports.copies import DownloadFailed

# A response of a few kilobytes may decompress to gigabytes: never more than this at once.
UNPACKED = 256 * 1024
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


class FileOnItsWay:
    """Implements `ports.copies.Download`."""

    def __init__(self, path: str, chunks: AsyncIterator[bytes], inline_name: str | None = None) -> None:
        self.path = path
        self.inline_name = inline_name
        self._chunks = chunks

    def chunks(self) -> AsyncIterator[bytes]:
        return self._chunks


async def paced(chunks: AsyncIterator[bytes], window: float, slowest: int, whole: float) -> AsyncIterator[bytes]:
    """Raises DownloadFailed unless `slowest` bytes arrive in each `window` seconds, and all within `whole` seconds.

    Only waiting for the sender counts, not a slow reader of this iterator.
    """
    waited = in_window = 0.0
    received = 0
    while True:
        began = monotonic()
        chunk = await anext(chunks, None)
        if chunk is None:
            return
        took = monotonic() - began
        waited, in_window, received = waited + took, in_window + took, received + len(chunk)
        if waited > whole:
            raise DownloadFailed("The download took too long.")
        if in_window > window:
            if received < slowest:
                raise DownloadFailed("The download is too slow.")
            in_window, received = 0.0, 0
        yield chunk


async def decoded(chunks: AsyncIterator[bytes], encoding: str | None) -> AsyncIterator[bytes]:
    """The chunks without their Content-Encoding. Raises DownloadFailed for an unknown, corrupt or truncated one."""
    name = (encoding or "identity").strip().lower()
    if name in ("identity", ""):
        async for chunk in chunks:
            yield chunk
        return
    if name not in ("gzip", "x-gzip", "deflate"):
        raise DownloadFailed("The response has an unsupported encoding.")
    unpacker = zlib.decompressobj(_ZLIB_OR_GZIP)
    try:
        async for chunk in chunks:
            while chunk:
                if unpacker.eof:
                    # A gzip file may have several members.
                    unpacker = zlib.decompressobj(_ZLIB_OR_GZIP)
                piece = unpacker.decompress(chunk, UNPACKED)
                chunk = unpacker.unconsumed_tail or unpacker.unused_data
                if piece:
                    yield piece
        if piece := unpacker.flush():
            yield piece
    except zlib.error:
        raise DownloadFailed("The response cannot be decompressed.") from None
    if not unpacker.eof:
        raise DownloadFailed("The response was cut off.")


async def within(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    """Raises DownloadFailed when there is more."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise too_large(max_bytes)
        yield chunk


def too_large(max_bytes: int) -> DownloadFailed:
    return DownloadFailed(f"The file is larger than MAX_RESULT_BYTES ({max_bytes}).", final=True)
