"""Pictures, films, sounds and models that come inline, as base64 or as a `data:` address: found, decoded, and known by
their first bytes."""

import binascii
import re
from itertools import islice
from urllib.parse import unquote_to_bytes

from service.core.content import HEAD_BYTES, MEDIA_TYPES, recognise
from service.core.inline import InlineFile, inline_file

MAX_BYTES = 32 * 1024 * 1024
# Places of one text that are looked at.
MAX_FILES = 200
# A shorter text is a word that happens to begin like base64 of a picture.
SHORTEST = 12
# How base64 of each kind begins; only such strings are decoded at all. `AAAA` is that of MP4, AVIF and HEIC.
_BEGINNINGS = (
    *("iVBORw0KGg", "/9j/", "UklGR", "R0lGOD", "AAAA", "SUQz", "//uQ", "//vQ", "//sQ", "//Mk", "//NE", "T2dnU"),
    *("ZkxhQ", "GkXfo", "PHN2Zy", "PD94bWwg", "Z2xUR"),
)
_URL_SAFE_BEGINNINGS = tuple(text.replace("/", "_").replace("+", "-") for text in _BEGINNINGS if "/" in text)
_INLINE = ("data:", "DATA:", "Data:", *_BEGINNINGS, *_URL_SAFE_BEGINNINGS)
# For what a `data:` address says of itself where the first bytes tell nothing.
_BY_TYPE = {"image/jpeg": "jpg", "image/svg+xml": "svg", "audio/mpeg": "mp3", "video/quicktime": "mov"} | {
    f"{family}/{extension}": extension
    for family, extensions in {
        "image": ("png", "webp", "gif", "avif", "bmp", "heic"),
        "video": ("mp4", "webm"),
        "audio": ("wav", "ogg", "flac", "aac", "mp3"),
    }.items()
    for extension in extensions
}
# No quantifier without a bound before the content: each place of a text is looked at once.
_HEAD = re.compile(r"data:(?P<type>[a-z]{1,20}/[a-z0-9.+-]{1,60})?(?:;[a-z0-9_=.\"+-]{1,60}){0,4},", re.IGNORECASE)
_CONTENT = re.compile(r"[A-Za-z0-9+/=_-]++(?:[\r\n]++[A-Za-z0-9+/=_-]++)*+")
_URL_SAFE = str.maketrans("-_", "+/")


def inline(text: str) -> InlineFile | None:
    """The file that a string is; None for any other string."""
    if not text.startswith(_INLINE):
        text = text.lstrip() if text[:1].isspace() else ""
        if not text.startswith(_INLINE):
            return None
    if text[:5].lower() == "data:":
        return _of_address(text.strip())
    data = decode(text)
    extension = extension_of(data) if data else None
    return inline_file(data, extension) if data and extension else None


def lifted(text: str, files: list[InlineFile]) -> str:
    """The text with each `data:` address in it replaced by the placeholder of its file."""
    lowered = text.lower() if "data:" not in text else text
    if "data:" not in lowered:
        return text
    pieces, done = [], 0
    for head in islice(_HEAD.finditer(text), MAX_FILES):
        if head.start() < done or ";base64," not in head.group().lower():
            continue
        content = _CONTENT.match(text, head.end())
        file = _of_address(text[head.start() : content.end()]) if content else None
        if content and file:
            files.append(file)
            pieces += [text[done : head.start()], file.placeholder]
            done = content.end()
    return "".join([*pieces, text[done:]])


def extension_of(data: bytes) -> str | None:
    found = recognise(data[:HEAD_BYTES])
    return found.extension if found is not None and found.extension in MEDIA_TYPES else None


def decode(text: str) -> bytes | None:
    """The bytes of base64, with line breaks, URL-safe or without padding too; None for what is no base64."""
    if len(text) > MAX_BYTES * 3 // 2:
        return None
    # Each copy of a large picture counts: none is made of text without line breaks, nor for the decoding.
    if any(blank in text for blank in " \t\r\n\v\f"):
        text = "".join(text.split())
    if len(text) < SHORTEST or len(text) > MAX_BYTES * 4 // 3 + 4:
        return None
    if "-" in text or "_" in text:
        text = text.translate(_URL_SAFE)
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return None


def _of_address(text: str) -> InlineFile | None:
    head = _HEAD.match(text)
    if head is None:
        return None
    declared = (head["type"] or "").lower()
    if not declared.startswith(("image/", "video/", "audio/", "model/", "application/octet-stream")):
        return None
    content = text[head.end() :]
    if ";base64," in head.group().lower():
        data = decode(content)
    else:
        data = unquote_to_bytes(content) if len(content) <= MAX_BYTES else None
    if not data:
        return None
    return inline_file(data, extension_of(data) or _BY_TYPE.get(declared, "bin"))
