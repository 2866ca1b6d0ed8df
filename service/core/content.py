"""What a file is, by its first bytes: media type, ending of its name, and whether that fits what was promised."""

import re
from base64 import b64decode
from dataclasses import dataclass

# As many bytes as every signature below needs; text is recognised in them too.
HEAD_BYTES = 1024
UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Content:
    media_type: str
    extension: str


class WrongContent(Exception):
    """The bytes are not what the file was said to be. The text is a sentence."""


# (offset, bytes, media type, extension); the first that fits counts.
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
    (4, b"ftypmif1", "image/heif", "heif"),
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
_EBML = b"\x1aE\xdf\xa3"
_MARKUP = re.compile(rb"<(?:!doctype\s{1,10}html|html|head|body|script|title)\b", re.I)
_SVG = re.compile(rb"<svg\b", re.I)
_PROLOGUE = re.compile(rb"<\?xml|<!doctype\s{1,10}svg", re.I)
_EXTENSION = re.compile(r"[a-z0-9]{1,8}")
# Containers that hold sound alone as well as a film.
_SOUND_TOO = frozenset(("video/mp4", "video/webm", "video/quicktime"))
# An animation counts as a film.
_MOVING = frozenset(("image/gif", "image/webp", "image/png", "image/avif"))


def recognise(head: bytes) -> Content | None:
    """None: none of the formats that are known here."""
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
    """What stands behind blanks, comments and an XML prologue. By hand: as one regular expression, comments that can be
    told apart in several ways take exponential time."""
    while True:
        head = head.lstrip()
        if head.startswith(b"<!--"):
            head = head.partition(b"-->")[2]
        elif _PROLOGUE.match(head):
            head = head.partition(b">")[2]
        else:
            return head


def judge(kind: str, head: bytes, path: str) -> Content:
    """What the file is, when that may be a file of this `kind` (image, video, audio, model, other).

    `path` is that of its address: its ending names what has no signature. Raises WrongContent.
    """
    if not head:
        raise WrongContent("The file is empty.")
    found = recognise(head)
    if found is None and (inner := _in_base64(head)) is not None and _fits(kind, inner, head):
        return Content("text/plain", _ending(path, "txt"))
    if not _fits(kind, found, head):
        raise WrongContent(f"The response is {_said(found, head)}, not {_ARTICLE.get(kind, 'a')} {kind} file.")
    if found is None or found.media_type == "text/html":
        # Served as nothing that a browser would run.
        return Content(UNKNOWN, _ending(path))
    if kind == "model" and found.extension == "zip":
        return Content(found.media_type, _ending(path, "zip"))
    if kind == "audio" and found.media_type in _SOUND_TOO:
        return Content(found.media_type.replace("video/", "audio/"), "m4a" if found.extension == "mp4" else "weba")
    return found


def is_playable(media_type: str) -> bool:
    """A picture, film or sound that a browser may show; SVG can hold scripts and is none."""
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
        # Many formats, some of them plain text; an error page or message is none.
        return media_type != "text/html" and not head.lstrip().startswith((b"<?xml", b'{"error', b'{"message'))
    return True


def _in_base64(head: bytes) -> Content | None:
    """What a text holds that is the base64 of a file: providers give such links when base64 was asked for."""
    text = b"".join((head.partition(b";base64,")[2] if head.startswith(b"data:") else head).split())
    try:
        return recognise(b64decode(text[: len(text) // 4 * 4], validate=True))
    except ValueError:
        return None


def _said(found: Content | None, head: bytes) -> str:
    if found is not None:
        return "an HTML page" if found.media_type == "text/html" else found.media_type
    return "text" if _is_text(head) else "of an unknown format"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut at the end of what was read.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character.isspace() for character in text)


def _ending(path: str, default: str = "bin") -> str:
    _, dot, ending = path.rpartition("/")[2].lower().rpartition(".")
    return ending if dot and _EXTENSION.fullmatch(ending) else default
