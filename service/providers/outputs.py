"""What a finished task yielded: every address in the provider's output, the best first, whatever the fields."""

import re
from typing import Any

from msgspec import Struct

from service.core.inline import is_placeholder
from service.core.result import File, Kind, Output

MAX_FILES = 500
MAX_URL = 4_096
_ADDRESS = re.compile(r"https?://[^\s/?#@:\[\]]+(:\d+)?([/?#]\S*)?")
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "image": ("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp"),
    "video": ("mp4", "webm", "mov", "mkv", "m4v"),
    "audio": ("mp3", "wav", "flac", "ogg", "m4a", "aac"),
    "model": ("glb", "gltf", "obj", "ply", "fbx", "stl", "usdz"),
}
_KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes}
# Said by the field when the address has no suffix. "cover" and the like are pictures beside a film or a song.
_KIND_WORDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("image", ("cover", "thumbnail", "frame", "poster")),
    ("model", ("model",)),
    ("video", ("video", "movie")),
    ("audio", ("audio", "song", "music", "voice")),
    ("image", ("image", "img", "picture", "photo")),
)
_BESIDE = ("cover", "thumb", "last_frame", "first_frame", "poster", "preview", "intermediate", "temporary", "discord")
_BESIDE_TOO = ("no_background", "preprocessed", "input", "origin", "proxy")
# A film's or song's picture is beside the point; a model's film too.
_KIND_ORDER: dict[Kind, int] = {"model": 0, "audio": 1, "video": 2, "image": 3, "other": 4}
TEXT_FIELDS = ("text", "caption", "description", "content", "lyrics", "answer", "result", "seed")


class Found(Struct, frozen=True):
    """An address and the fields that lead to it; `otherwise` is its kind where neither of them tells."""

    url: str
    path: str
    otherwise: Kind = "other"

    @property
    def kind(self) -> Kind:
        name = self.url.partition("?")[0].partition("#")[0].rpartition("/")[2]
        _, dot, suffix = name.rpartition(".")
        if dot and (known := _KIND_OF_SUFFIX.get(suffix.lower())):
            return known
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
    return (
        isinstance(value, str)
        and value.startswith("http")
        and len(value) <= MAX_URL
        and _ADDRESS.fullmatch(value) is not None
    )


def is_result(text: str) -> bool:
    """An address, or the placeholder of a file that came inline."""
    return is_address(text) or is_placeholder(text)


def addresses(tree: Any, otherwise: Kind = "other") -> list[Found]:
    """Every address of a (cleaned) tree, best first, none twice."""
    every: list[Found] = []
    _collect(every, tree, "", otherwise)
    if len(every) < 2:
        return every
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
    for value in tree.values():
        if isinstance(value, dict | list) and (text := text_of(value)):
            return text
    return None


def output(found: list[Found], text: str | None, raw: Any) -> Output:
    """An address that is found twice is listed once."""
    first: dict[str, Found] = {}
    for item in found:
        first.setdefault(item.url, item)
    return Output(tuple([File(item.url, item.kind, item.path) for item in first.values()]), text, raw)


def _collect(every: list[Found], node: Any, path: str, otherwise: Kind) -> None:
    if isinstance(node, str):
        if is_result(address := node.strip()):
            every.append(Found(address, path, otherwise))
    elif isinstance(node, dict):
        for name, value in node.items():
            _collect(every, value, f"{path}.{name}" if path else str(name), otherwise)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _collect(every, value, f"{path}.{index}" if path else str(index), otherwise)
