"""Copies in a folder of this machine, such as a mounted volume."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import IO, ParamSpec, TypeVar

from service.ports.copies import CopyMissing, StorageUnavailable

P = ParamSpec("P")
T = TypeVar("T")
# Small writes are collected: each costs a switch to a thread.
GATHERED = 1024 * 1024
READ_BYTES = 256 * 1024
THREADS = 4
PROBE = ".callbridge-probe"


class ResultFolder:
    """The folder is created on first use; one that vanishes later (an unmounted volume) is not created again."""

    def __init__(self, folder: str) -> None:
        self._root = Path(folder)
        self._found = False
        # A hung disk must not use up the event loop's threads.
        self._threads = ThreadPoolExecutor(THREADS, "results")

    async def put(self, name: str, chunks: AsyncIterator[bytes], media_type: str, *, download: bool) -> None:
        part = _Part(self._root / name)
        try:
            await self._do(self._create, part)
            gathered, size = list[bytes](), 0
            async for chunk in chunks:
                gathered.append(chunk)
                size += len(chunk)
                if size >= GATHERED:
                    await self._do(part.write, gathered)
                    gathered, size = [], 0
            await self._do(part.finish, gathered)
        except BaseException:
            await self._do(part.discard)
            raise

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        path = self._root / name
        if not self._root.is_dir():
            raise StorageUnavailable("The folder of RESULTS_URL is not there.")
        if not path.is_file():
            raise CopyMissing
        return self._chunks(path, start, end)

    async def link(self, method: str, name: str, seconds: int) -> str | None:
        return None

    async def delete(self, folder: str) -> None:
        await self._do(self._delete, self._root / folder)

    async def probe(self) -> None:
        await self._do(self._probe)

    async def _do(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **named))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # A thread cannot be stopped; what it creates is cleaned up afterwards.
            await asyncio.wait([running])
            raise
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else "it failed"
            raise StorageUnavailable(f"The folder of RESULTS_URL cannot be used: {cause}.") from None

    async def _chunks(self, path: Path, start: int, end: int) -> AsyncIterator[bytes]:
        file = await self._do(path.open, "rb")
        try:
            await self._do(file.seek, start)
            while start < end:
                chunk = await self._do(file.read, min(READ_BYTES, end - start))
                if not chunk:
                    raise StorageUnavailable("The file is shorter than when it was stored.")
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    # --- in a thread ---

    def _ensure_root(self) -> None:
        if not self._found:
            self._root.mkdir(parents=True, exist_ok=True)
            self._found = True
        elif not self._root.is_dir():
            raise FileNotFoundError(errno.ENOENT, "")

    def _create(self, part: "_Part") -> None:
        self._ensure_root()
        folder = part.path.parent
        fresh = [above for above in (folder, *folder.parents) if not above.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for above in fresh:
            _sync(above.parent)
        part.create()

    def _delete(self, folder: Path) -> None:
        if not self._root.is_dir():
            # Not created here: there is nothing to delete in a folder that does not exist.
            raise FileNotFoundError(errno.ENOENT, "")
        if folder.exists():
            shutil.rmtree(folder)
        for above in folder.relative_to(self._root).parents:
            if above == Path():
                return
            try:
                (self._root / above).rmdir()
            except OSError:
                return  # other tasks of that day

    def _probe(self) -> None:
        self._ensure_root()
        path = self._root / f"{PROBE}-{token_hex(4)}"
        try:
            path.write_bytes(PROBE.encode())
            if path.read_bytes() != PROBE.encode():
                raise OSError(errno.EIO, "")
        finally:
            path.unlink(missing_ok=True)


class _Part:
    """A file under a temporary name until it is complete. For threads, one call at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.{token_hex(4)}.part")
        self._file: IO[bytes] | None = None

    def create(self) -> None:
        self._file = self._part.open("xb")

    def write(self, pieces: Iterable[bytes]) -> None:
        assert self._file is not None
        self._file.writelines(pieces)

    def finish(self, rest: Iterable[bytes]) -> None:
        self.write(rest)
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.path)
        _sync(self.path.parent)

    def discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()  # what a full disk has not accepted yet is written again
            self._part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Makes files created or renamed in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
