"""Pictures that come inline as base64: found, decoded, and checked by their first bytes."""

import base64
import binascii

from service.core.inline import InlineFile, inline_file

MAX_BYTES = 32 * 1024 * 1024
# How base64 of each kind begins; only such strings are decoded at all.
_BEGINNINGS = ("iVBORw0KGg", "/9j/", "UklGR", "R0lGOD")
_INLINE = ("data:image/", *_BEGINNINGS)


def kind_of(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return None


def decode(text: str) -> tuple[bytes, str] | None:
    """Bytes and kind of a base64 picture (a `data:` address too), None for anything else."""
    if text.startswith("data:image/"):
        text = text.partition("base64,")[2]
    if not text.startswith(_BEGINNINGS) or len(text) > MAX_BYTES * 4 // 3 + 4:
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = kind_of(data)
    return (data, kind) if kind else None


def inline(text: str) -> InlineFile | None:
    """The picture that a string is; None for any other string."""
    found = decode(text) if text.startswith(_INLINE) else None
    return inline_file(*found) if found else None
