"""What a file is, by its first bytes: media type, extension, and whether that is what was promised."""

import re
from base64 import b64decode
from dataclasses import dataclass

# Enough for every signature below, and to recognise text.
HEAD_BYTES = 1024
UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Content:
    media_type: str
    extension: str


class WrongContent(Exception):
    """The file is not of the promised kind. The text is a sentence for users."""


# (offset, bytes, media type, extension); the first match counts.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (0, b"\xff\xd8\xff", "image/jpeg", "jpg"),
    (0, b"GIF8", "image/gif", "gif"),
    (8, b"WEBP", "image/webp", "webp"),
    (8, b"WAVE", "audio/wav", "wav"),
    (8, b"AVI ", "video/x-msvideo", "avi"),
    (0, b"BM", "image/bmp", "bmp"),
    (0, b"II*\0", "image/tiff", "tif"),
    (0, b"MM\0*", "image/tiff", "tif"),
    (0, b"\0\0\0\x0cJXL ", "image/jxl", "jxl"),
    (0, b"\xff\x0a", "image/jxl", "jxl"),
    (4, b"ftypavif", "image/avif", "avif"),
    (4, b"ftypavis", "image/avif", "avif"),
    (4, b"ftyphei", "image/heic", "heic"),
    (4, b"ftypmif1", "image/heif", "heic"),
    (4, b"ftypM4A", "audio/mp4", "m4a"),
    (4, b"ftypM4B", "audio/mp4", "m4a"),
    (4, b"ftypqt", "video/quicktime", "mov"),
    (4, b"ftyp", "video/mp4", "mp4"),
    (4, b"moov", "video/quicktime", "mov"),
    (0, b"ID3", "audio/mpeg", "mp3"),
    (0, b"fLaC", "audio/flac", "flac"),
    (0, b"OggS", "audio/ogg", "ogg"),
    (0, b"FLV", "video/x-flv", "flv"),
    (0, b"\0\0\x01\xba", "video/mpeg", "mpg"),
    (0, b"glTF", "model/gltf-binary", "glb"),
    (0, b"ply\n", "model/ply", "ply"),
    (0, b"ply\r", "model/ply", "ply"),
    (0, b"Kaydara FBX Binary", UNKNOWN, "fbx"),
    (0, b"PK\x03\x04", "application/zip", "zip"),
    (0, b"%PDF-", "application/pdf", "pdf"),
)
# By extension: pictures, films, sound and models.
MEDIA_TYPES = {
    extension: media_type
    for _, _, media_type, extension in _SIGNATURES
    if media_type.startswith(("image/", "video/", "audio/", "model/"))
} | {
    "jpeg": "image/jpeg",
    "svg": "image/svg+xml",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "aac": "audio/aac",
}
_EBML = b"\x1aE\xdf\xa3"
_MARKUP = re.compile(rb"<(?:!doctype\s{1,10}html|html|head|body|script|title)\b", re.I)
_SVG = re.compile(rb"<svg\b", re.I)
_PROLOGUE = re.compile(rb"<\?xml|<!doctype\s{1,10}svg", re.I)
_EXTENSION = re.compile(r"[a-z0-9]{1,8}")
# Containers that may hold only sound.
_SOUND_TOO = frozenset(("video/mp4", "video/webm", "video/quicktime"))
# An animation counts as a video.
_MOVING = frozenset(("image/gif", "image/webp", "image/png", "image/avif"))


def recognise(head: bytes) -> Content | None:
    """None for an unknown format."""
    for offset, signature, media_type, extension in _SIGNATURES:
        if head.startswith(signature, offset) and (offset != 8 or head.startswith(b"RIFF")):
            return Content(media_type, extension)
    if head.startswith(_EBML):
        return Content("video/webm", "webm") if b"webm" in head[:64] else Content("video/x-matroska", "mkv")
    # MPEG audio without tags: eleven set bits, then version, layer and bit rate. ADTS (AAC) has layer 0.
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08:
        return Content("audio/mpeg", "mp3") if head[1] & 0x06 else Content("audio/aac", "aac")
    element = _first_element(head.removeprefix(b"\xef\xbb\xbf"))
    if _SVG.match(element):
        return Content("image/svg+xml", "svg")
    if _MARKUP.match(element):
        return Content("text/html", "html")
    return None


def _first_element(head: bytes) -> bytes:
    """The text after white space, comments and an XML prologue. Not one regular expression, which would backtrack
    exponentially over comments."""
    while True:
        head = head.lstrip()
        if head.startswith(b"<!--"):
            head = head.partition(b"-->")[2]
        elif _PROLOGUE.match(head):
            head = head.partition(b">")[2]
        else:
            return head


def judge(kind: str, head: bytes, path: str) -> Content:
    """What the file is, if that is of this `kind` (image, video, audio, model, other). Raises WrongContent.

    `path` is that of its address; its extension names formats without a signature.
    """
    if not head:
        raise WrongContent("The file is empty.")
    found = recognise(head)
    if found is None and (inner := _in_base64(head)) is not None and _fits(kind, inner, head):
        return Content("text/plain", _extension(path, "txt"))
    if not _fits(kind, found, head):
        raise WrongContent(f"The response is {_described(found, head)}, not {_ARTICLE.get(kind, 'a')} {kind} file.")
    if found is None or found.media_type == "text/html":
        # Served as a type that no browser executes.
        return Content(UNKNOWN, _extension(path))
    if kind == "model" and found.extension == "zip":
        return Content(found.media_type, _extension(path, "zip"))
    if kind == "audio" and found.media_type in _SOUND_TOO:
        return Content(found.media_type.replace("video/", "audio/"), "m4a" if found.extension == "mp4" else "weba")
    return found


def is_playable(media_type: str) -> bool:
    """Whether a browser may show it: pictures, video and sound, but not SVG, which can hold scripts."""
    return media_type.startswith(("image/", "video/", "audio/")) and media_type != "image/svg+xml"


_ARTICLE = {"image": "an", "audio": "an", "other": "an"}


def _fits(kind: str, found: Content | None, head: bytes) -> bool:
    media_type = found.media_type if found else ""
    family = media_type.partition("/")[0]
    if kind == "image":
        return family == "image"
    if kind == "video":
        return family == "video" or media_type in _MOVING
    if kind == "audio":
        return family == "audio" or media_type in _SOUND_TOO
    if kind == "model":
        # Many formats, some of them plain text, but not an error page or message.
        return media_type != "text/html" and not head.lstrip().startswith((b"<?xml", b'{"error', b'{"message'))
    return True


def _in_base64(head: bytes) -> Content | None:
    """The file in a text of base64: providers link to such texts when base64 was asked for."""
    text = b"".join((head.partition(b";base64,")[2] if head.startswith(b"data:") else head).split())
    try:
        return recognise(b64decode(text[: len(text) // 4 * 4], validate=True))
    except ValueError:
        return None


def _described(found: Content | None, head: bytes) -> str:
    if found is not None:
        return "an HTML page" if found.media_type == "text/html" else found.media_type
    return "text" if _is_text(head) else "of an unknown format"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character.isspace() for character in text)


def _extension(path: str, default: str = "bin") -> str:
    _, dot, extension = path.rpartition("/")[2].lower().rpartition(".")
    return extension if dot and _EXTENSION.fullmatch(extension) else default
