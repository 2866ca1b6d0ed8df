"""Files that a provider sent inline, in a folder of this machine."""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from service.core.errors import Unavailable

T = TypeVar("T")


class MediaFolder:
    """Implements `ports.files.InlineFiles`."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    async def save(self, data: bytes, extension: str) -> str:
        return await self._in_thread(lambda: self._save(data, extension))

    async def find(self, name: str) -> Path | None:
        path = self._folder / Path(name).name
        return path if path.is_file() else None

    async def remove(self, name: str) -> None:
        await self._in_thread(lambda: (self._folder / Path(name).name).unlink(missing_ok=True))

    async def remove_older(self, seconds: float) -> None:
        await self._in_thread(lambda: self._remove_older(seconds))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise Unavailable(f"The media folder cannot be used: {error.strerror}.", retry_after=5) from error

    def _save(self, data: bytes, extension: str) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{hashlib.sha256(data).hexdigest()}.{extension}"
        path = self._folder / name
        if path.exists():
            # Now used by a younger task too.
            os.utime(path)
            return name
        part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return name

    def _remove_older(self, seconds: float) -> None:
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                # Files are saved and removed beside this.
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < time.time() - seconds:
                        path.unlink()
