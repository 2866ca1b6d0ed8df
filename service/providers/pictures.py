"""Pictures that come inline as base64: found, decoded, checked by their first bytes, and handed to the media folder."""

import base64
import binascii
from collections.abc import Callable

# Saves a picture of the given kind ("png", "jpg", "webp", "gif") and returns the address it is served at.
Save = Callable[[bytes, str], str]

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


def lifter(save: Save) -> Callable[[str], str | None]:
    """Replaces an inline picture by its address; None for any other string."""

    def lift(text: str) -> str | None:
        found = decode(text) if text.startswith(_INLINE) else None
        return save(*found) if found else None

    return lift
