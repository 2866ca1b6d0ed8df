"""Pictures that a provider sent inline: files in a folder, served under signed addresses."""

import hashlib
import os
import threading
import time
from pathlib import Path

from service.wire.tokens import BadToken, Tokens

TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}


class MediaFolder:
    def __init__(self, folder: str, public_url: str, tokens: Tokens) -> None:
        self._folder = Path(folder)
        self._public_url = public_url
        self._tokens = tokens

    def save(self, data: bytes, kind: str) -> str:
        """The address under which it is served. On disk before the event that names it is."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{hashlib.sha256(data).hexdigest()}.{kind}"
        path = self._folder / name
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        else:
            # It belongs to a younger task now too.
            os.utime(path)
        return f"{self._public_url}/media/{self._tokens.media(name)}"

    def find(self, token: str) -> tuple[Path, str] | None:
        """The file and its content type."""
        try:
            name = self._tokens.read_media(token)
        except BadToken:
            return None
        path = self._folder / name
        return (path, TYPES.get(path.suffix[1:], "application/octet-stream")) if path.is_file() else None

    def tidy(self, older_than_seconds: float) -> None:
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.stat().st_mtime < time.time() - older_than_seconds:
                    path.unlink(missing_ok=True)
