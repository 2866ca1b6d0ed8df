"""Copies in a bucket: S3 and compatible stores, Google Cloud Storage, Azure."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from secrets import token_hex
from typing import Any

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import from_url

from service.ports.copies import CopyMissing, StorageUnavailable

# The smallest part that S3 accepts; a file has at most 10,000 parts.
SMALLEST_PART = 5 * 1024 * 1024
MOST_PARTS = 9_000
READ_BYTES = 256 * 1024
DELETED_AT_ONCE = 100
# The worker retries an unreachable store; the library's own retries must not block a copy for minutes.
CLIENT = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=60)}
RETRY = {
    "max_retries": 1,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=1), "base": 2},
}
LAST_PART_SECONDS = 10.0
PROBE = ".callbridge-probe"
_STATUS = re.compile(r"status(?: code)?:? (\d{3})")


class ObjectStore:
    """`links`: readers are redirected to the store, so they must be able to reach its address."""

    def __init__(self, url: str, max_bytes: int, *, links: bool, allow_http: bool) -> None:
        """Raises ValueError with a sentence."""
        self._links = links
        self._part = max(SMALLEST_PART, max_bytes // MOST_PARTS)
        client: Any = CLIENT | {"allow_http": allow_http}
        try:
            self._store: Any = from_url(url, client_options=client, retry_config=RETRY)  # type: ignore[call-overload]
        except BaseError as error:
            raise ValueError(f"the bucket cannot be set up: {str(error).splitlines()[0][:200]}") from None

    async def put(self, name: str, chunks: AsyncIterator[bytes], media_type: str, *, download: bool) -> None:
        attributes = {"Content-Type": media_type, "Cache-Control": "private, max-age=86400"}
        if download:
            attributes["Content-Disposition"] = "attachment"
        first = bytearray()
        async for chunk in chunks:
            first += chunk
            if len(first) > self._part:
                break
        else:
            # One request: a small file never leaves an unfinished upload behind.
            await self._upload(name, bytes(first), attributes)
            return
        source = _Source(bytes(first), chunks)
        del first
        await self._upload(name, source, attributes, source)

    async def _upload(
        self, name: str, data: "bytes | _Source", attributes: dict[str, str], source: "_Source | None" = None
    ) -> None:
        upload = asyncio.ensure_future(
            obstore.put_async(self._store, name, data, attributes=attributes, chunk_size=self._part, max_concurrency=1)
        )
        try:
            await asyncio.shield(upload)
        except asyncio.CancelledError:
            # Cancelling an upload leaves its parts in the bucket; when its source fails, the library removes them.
            if source is not None:
                source.stop()
            await asyncio.wait([upload], timeout=LAST_PART_SECONDS)
            if upload.done() and not upload.cancelled():
                upload.exception()
            raise
        except Exception as error:
            if source is not None and source.error is not None:
                raise source.error from None
            raise _trouble(error) from None

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        try:
            found = await obstore.get_async(self._store, name, options={"range": (start, end)})
        except (NotFoundError, FileNotFoundError):
            raise CopyMissing from None
        except Exception as error:
            raise _trouble(error) from None
        return _chunks(found)

    async def link(self, method: str, name: str, seconds: int) -> str | None:
        if not self._links:
            return None
        try:
            way: Any = method
            return str(await obstore.sign_async(self._store, way, name, timedelta(seconds=seconds)))
        except Exception:
            # Credentials that cannot sign, such as an instance token: the bytes are served by this process.
            return None

    async def delete(self, folder: str) -> None:
        try:
            async for page in obstore.list(self._store, prefix=folder, chunk_size=DELETED_AT_ONCE):
                await obstore.delete_async(self._store, [found["path"] for found in page])
        except (NotFoundError, FileNotFoundError):
            return  # already deleted by somebody else
        except Exception as error:
            raise _trouble(error) from None

    async def probe(self) -> None:
        name = f"{PROBE}-{token_hex(4)}"
        try:
            await obstore.put_async(self._store, name, PROBE.encode())
            found = await obstore.get_async(self._store, name)
            if bytes(await found.bytes_async()) != PROBE.encode():
                raise StorageUnavailable("The store of RESULTS_URL returned different bytes than were written.")
            await obstore.delete_async(self._store, name)
        except StorageUnavailable:
            raise
        except Exception as error:
            raise _trouble(error) from None


class _Source:
    """Feeds an upload and keeps an error of the download apart from errors of the store."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self.error: BaseException | None = None
        self._first: bytes | None = first
        self._rest = rest
        self._stopped = False

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> bytes:
        if self._stopped:
            raise RuntimeError("stopped")
        first, self._first = self._first, None
        if first is not None:
            return first
        try:
            return await anext(self._rest)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        self._stopped = True


async def _chunks(found: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in found.stream(min_chunk_size=READ_BYTES):
            yield bytes(chunk)
    except Exception as error:
        raise _trouble(error) from None


def _trouble(error: Exception) -> StorageUnavailable:
    """The library's own text contains addresses, which may hold a signature."""
    if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
        return StorageUnavailable("The store of RESULTS_URL refuses these credentials.")
    if isinstance(error, NotFoundError | FileNotFoundError):
        return StorageUnavailable("The bucket of RESULTS_URL does not exist.")
    status = _STATUS.search(str(error))
    cause = f"it responded with status {status[1]}" if status else "it cannot be reached"
    return StorageUnavailable(f"The store of RESULTS_URL cannot be used: {cause}.")
