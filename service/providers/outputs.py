"""What a finished task yielded: every address in the provider's output, the best first, whatever the fields."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.core.times import to_iso

HOUR_MS = 3_600_000
MAX_FILES = 500
MAX_URL = 4_096
_ADDRESS = re.compile(r"https?://[^\s/?#@:\[\]]+(:\d+)?([/?#]\S*)?")
_PATH_END = re.compile(r"[?#]")
_SUFFIXES = {
    "image": ("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp"),
    "video": ("mp4", "webm", "mov", "mkv", "m4v"),
    "audio": ("mp3", "wav", "flac", "ogg", "m4a", "aac"),
    "model": ("glb", "gltf", "obj", "ply", "fbx", "stl", "usdz"),
}
_KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes}
# Said by the field when the address has no suffix. "cover" and the like are pictures beside a film or a song.
_KIND_WORDS = (
    ("image", ("cover", "thumbnail", "frame", "poster")),
    ("model", ("model",)),
    ("video", ("video", "movie")),
    ("audio", ("audio", "song", "music", "voice")),
    ("image", ("image", "img", "picture", "photo")),
)
_BESIDE = ("cover", "thumb", "last_frame", "first_frame", "poster", "preview", "intermediate", "temporary", "discord")
_BESIDE_TOO = ("no_background", "preprocessed", "input", "origin", "proxy")
# A film's or song's picture is beside the point; a model's film too.
_KIND_ORDER = {"model": 0, "audio": 1, "video": 2, "image": 3, "other": 4}
TEXT_FIELDS = ("text", "caption", "description", "content", "lyrics", "answer", "result", "seed")


@dataclass(frozen=True, slots=True)
class Found:
    """An address and the fields that lead to it; `otherwise` is its kind where neither of them tells."""

    url: str
    path: str
    otherwise: str = "other"

    @property
    def kind(self) -> str:
        name = _PATH_END.split(self.url, maxsplit=1)[0].rpartition("/")[2]
        suffix = name.rpartition(".")[2].lower() if "." in name else ""
        if suffix in _KIND_OF_SUFFIX:
            return _KIND_OF_SUFFIX[suffix]
        path = self.path.lower()
        return next((kind for kind, words in _KIND_WORDS if any(word in path for word in words)), self.otherwise)

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """Lower is better: results before covers, then by kind, watermark-free first, lists before single."""
        path = self.path.lower()
        beside = any(word in path for word in (*_BESIDE, *_BESIDE_TOO))
        free = "without_watermark" in path or "no_watermark" in path
        second = "download" in path or ("image_url" in path and "image_urls" not in path)
        return beside, _KIND_ORDER[self.kind], 0 if free else 1, 1 if second else 0


def is_address(value: Any) -> bool:
    """An http(s) address with a host."""
    return isinstance(value, str) and len(value) <= MAX_URL and _ADDRESS.fullmatch(value) is not None


def addresses(tree: Any, otherwise: str = "other") -> list[Found]:
    """Every address of a (cleaned) tree, best first, none twice."""
    every = list(_walk(tree, "", otherwise))
    if len(every) > 1:
        every.sort(key=lambda item: item.rank)
    best: dict[str, Found] = {}
    for found in every:
        best.setdefault(found.url, found)
        if len(best) == MAX_FILES:
            break
    return list(best.values())


def text_of(tree: Any) -> str | None:
    """The first text of an output that has one: a caption, lyrics, a description."""
    if isinstance(tree, str):
        return tree.strip() or None
    if isinstance(tree, list):
        return next((text for item in tree if not isinstance(item, str) and (text := text_of(item))), None)
    if not isinstance(tree, dict):
        return None
    for name in TEXT_FIELDS:
        value = tree.get(name)
        if isinstance(value, str) and value.strip() and not is_address(value):
            return value
    nested = (text_of(value) for value in tree.values() if isinstance(value, dict | list))
    return next((text for text in nested if text), None)


def output(found: list[Found], text: str | None, raw: Any, expires_at: int | None = None) -> dict[str, Any]:
    """The `output` of a completed task, as section 3 of the contract shows it."""
    urls = [item.url for item in found]
    expires = None if expires_at is None else to_iso(expires_at)
    files = [{"url": f.url, "kind": f.kind, "path": f.path, "expires_at": expires} for f in found]
    return {"url": urls[0] if urls else None, "urls": urls, "text": text, "files": files, "raw": raw}


def _walk(node: Any, path: str, otherwise: str) -> Iterator[Found]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _walk(value, f"{path}.{name}" if path else str(name), otherwise)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _walk(value, f"{path}.{index}" if path else str(index), otherwise)
    elif isinstance(node, str) and is_address(node.strip()):
        yield Found(node.strip(), path, otherwise)
