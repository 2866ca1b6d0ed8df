"""What a task yielded, why it failed and how far it is. Stored and shown in the same JSON shape."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

Kind = Literal["image", "video", "audio", "model", "other"]
# What a task was charged, in the provider's own words: a document of its own, passed on as it came.
Usage = dict[str, Any]


class Copy(Struct, frozen=True):
    """Our copy of a result file. `url`, `bytes`, `content_type` and `sha256` (hex) are there once it is stored."""

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
    """`path` is where the address stood in the provider's output, such as `image_urls.0`; times are ISO 8601."""

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
    """The result of a completed task: its files, the best first, its text, and `raw`, the provider's own output."""

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
        """The same with the time at which the provider removes the files."""
        return replace(self, files=tuple([replace(file, expires_at=at) for file in self.files]))

    def to_be_copied(self) -> "Output":
        """The same with a pending copy for each file."""
        return replace(self, files=tuple([replace(file, copy=PENDING) for file in self.files]))

    @property
    def copies_pending(self) -> bool:
        return any(file.copy == PENDING for file in self.files)

    def is_like(self, other: "Output") -> bool:
        """Whether both hold the same files and text."""
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
    """Why a task failed; section 3 of the contract lists the codes."""

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
    """How far a stream is that the service reads itself. `previews` and `pictures` count pictures that came inline."""

    text_length: int = 0
    percent: int | None = None
    previews: int | UnsetType = UNSET
    pictures: int | UnsetType = UNSET

    def document(self) -> dict[str, Any]:
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in values if value is not UNSET}
