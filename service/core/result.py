"""The result of a task, why it failed, and its progress. Stored and shown in the same JSON shape."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

Kind = Literal["image", "video", "audio", "model", "other"]
# What a task cost, in the provider's own format, passed on unchanged.
Usage = dict[str, Any]


class Copy(Struct, frozen=True):
    """Our copy of a result file. `url`, `bytes`, `content_type` and `sha256` (hex) are set once it is stored."""

    status: Literal["pending", "stored", "failed"]
    url: str | None = None
    bytes: int | None = None
    content_type: str | None = None
    sha256: str | None = None
    error: str | None = None

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__}


PENDING = Copy("pending")


class File(Struct, frozen=True):
    """`path` is the place of the address in the provider's output, such as `image_urls.0`; times are ISO 8601."""

    url: str
    kind: Kind
    path: str
    expires_at: str | None = None
    copy: Copy | None = None

    def document(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "kind": self.kind,
            "path": self.path,
            "expires_at": self.expires_at,
            "copy": self.copy.document() if self.copy else None,
        }


class Output(Struct, frozen=True):
    """The result of a completed task: its files, best first, its text, and the provider's own output as `raw`."""

    files: tuple[File, ...] = ()
    text: str | None = None
    raw: Any = None

    @property
    def url(self) -> str | None:
        return self.files[0].url if self.files else None

    @property
    def urls(self) -> list[str]:
        return [file.url for file in self.files]

    def expiring(self, at: str) -> "Output":
        """With the time at which the provider removes the files."""
        return replace(self, files=tuple([replace(file, expires_at=at) for file in self.files]))

    def to_be_copied(self) -> "Output":
        """With a pending copy for each file."""
        return replace(self, files=tuple([replace(file, copy=PENDING) for file in self.files]))

    @property
    def copies_pending(self) -> bool:
        return any(file.copy == PENDING for file in self.files)

    def is_like(self, other: "Output") -> bool:
        """Whether both have the same files and text."""
        return self.urls == other.urls and self.text == other.text

    def document(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "urls": self.urls,
            "text": self.text,
            "files": [file.document() for file in self.files],
            "raw": self.raw,
        }


class Failure(Struct, frozen=True):
    """Why a task failed; the codes are listed in schemas/api/task.json."""

    code: str
    message: str
    provider_code: str | None = None
    provider_message: str | None = None

    def document(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "provider_code": self.provider_code,
            "provider_message": self.provider_message,
        }


class Progress(Struct, frozen=True):
    """Progress of a stream that the service reads itself. `previews` and `pictures` count inline pictures."""

    text_length: int = 0
    percent: int | None = None
    previews: int | UnsetType = UNSET
    pictures: int | UnsetType = UNSET

    def document(self) -> dict[str, Any]:
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in values if value is not UNSET}
