"""What a finished task yielded: every address in the provider's output, the best first, whatever the fields."""

import re
from typing import Any, Literal

from msgspec import Struct

from service.core.inline import is_placeholder
from service.core.result import File, Kind, Output
from service.providers import strings
from service.providers.addresses import addresses_in, words_of

MAX_FILES = 500
MAX_DEPTH = 80
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "image": ("png", "jpg", "jpeg", "jfif", "webp", "gif", "avif", "bmp", "svg", "heic", "jxl", "tif", "tiff", "ico"),
    "video": ("mp4", "webm", "mov", "mkv", "m4v", "avi", "mpg", "mpeg", "m3u8"),
    "audio": ("mp3", "wav", "flac", "ogg", "oga", "opus", "m4a", "aac"),
    "model": ("glb", "gltf", "obj", "ply", "fbx", "stl", "usdz"),
}
_KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes}
# Said by a field's name when the address has no suffix. "cover" and the like are pictures beside a film or a song.
_COVERS = ("cover", "thumb", "frame", "poster")
_KIND_WORDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("image", _COVERS),
    ("model", ("model",)),
    ("video", ("video", "movie", "film", "clip")),
    ("audio", ("audio", "song", "music", "voice", "speech", "sound")),
    ("image", ("image", "img", "picture", "photo")),
)
_TYPE_FIELDS = ("content_type", "contentType", "mime_type", "mimeType", "media_type", "mimetype", "type", "format")
_BESIDE = ("cover", "thumb", "last_frame", "first_frame", "poster", "preview", "intermediate", "temporary", "discord")
_BESIDE_TOO = ("no_background", "preprocessed", "input", "origin", "proxy")
_BESIDE_WORDS = frozenset(
    ("cover", "covers", "thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews", "poster")
)
_CLEAN = re.compile(
    r"(?<![a-z])(?:(?:without|no|non|un|remove|removed)[_\W]{0,3}(?:any[_\W])?(?:water)?mark|clean(?![a-z]))"
    r"|watermark[_\W]{0,3}(?:free|removed|=0|=false)"
)
# A film's or song's picture is beside the point; a model's film too.
_KIND_ORDER: dict[Kind, int] = {"model": 0, "audio": 1, "video": 2, "image": 3, "other": 4}
TEXT_FIELDS = (
    *("text", "caption", "captions", "description", "descriptions", "content", "lyrics", "transcript"),
    *("transcription", "answer", "result", "results", "seed"),
)
_TEXT_NAMES = frozenset(TEXT_FIELDS)


class Found(Struct, frozen=True):
    """An address and the fields that lead to it. `said` is what stands beside it about its type; `otherwise` is its
    kind where nothing tells."""

    url: str
    path: str
    otherwise: Kind = "other"
    said: str = ""

    @property
    def kind(self) -> Kind:
        if by_suffix := _by_suffix(self.url):
            return by_suffix
        own = self.path.rpartition(".")[2].lower()
        if any(word in own for word in _COVERS):
            return "image"
        return _by_type(self.said) or _by_path(self.path) or self.otherwise

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """Lower is better: results before covers, then by kind, watermark-free first, lists before single."""
        path = self.path.lower()
        beside = any(word in path for word in (*_BESIDE, *_BESIDE_TOO)) or not _BESIDE_WORDS.isdisjoint(
            words_of(self.url)
        )
        second = "download" in path or ("image_url" in path and "image_urls" not in path)
        return beside, _KIND_ORDER[self.kind], self._marked, 1 if second else 0

    @property
    def _marked(self) -> Literal[0, 1, 2]:
        """0: said to be without a watermark, 2: said to have one."""
        text = f"{self.path} {self.url}".lower()
        if _CLEAN.search(text):
            return 0
        return 2 if "watermark" in text else 1


def addresses(tree: Any, otherwise: Kind = "other") -> list[Found]:
    """Every address of a (cleaned) tree, best first, none twice."""
    every: list[Found] = []
    _collect(every, tree, "", {}, otherwise, 0)
    if len(every) < 2:
        return every
    every.sort(key=lambda item: item.rank)
    best: dict[str, Found] = {}
    for found in every:
        best.setdefault(found.url, found)
        if len(best) == MAX_FILES:
            break
    return list(best.values())


def text_of(tree: Any, numbers: bool = False) -> str | None:
    """The first text of an output that has one: a caption, lyrics, a description. `numbers`: a seed is a text too."""
    if isinstance(tree, str) or (numbers and isinstance(tree, int | float)):
        return _plain_text(tree)
    if isinstance(tree, list):
        lines = [item for item in tree if not isinstance(item, dict | list)]
        if told := [text for item in lines if (text := text_of(item, numbers))]:
            return "\n".join(told)
        return next((text for item in tree if (text := text_of(item, numbers))), None)
    if not isinstance(tree, dict):
        return None
    if not _TEXT_NAMES.isdisjoint(tree):
        for name in TEXT_FIELDS:
            if name in tree and not isinstance(value := tree[name], dict) and (text := text_of(value, numbers)):
                return text
    for value in tree.values():
        if isinstance(value, dict | list) and not _only_words(value) and (text := text_of(value, numbers)):
            return text
    return None


def output(found: list[Found], text: str | None, raw: Any) -> Output:
    """An address that is found twice is listed once."""
    if len(found) == 1:
        return Output((File(found[0].url, found[0].kind, found[0].path),), text, raw)
    first: dict[str, Found] = {}
    for item in found:
        first.setdefault(item.url, item)
    return Output(tuple([File(item.url, item.kind, item.path) for item in first.values()]), text, raw)


def _by_suffix(url: str) -> Kind | None:
    if known := _KIND_OF_SUFFIX.get(url.rpartition(".")[2].lower()):
        return known
    address, _, query = url.partition("#")[0].partition("?")
    for text in (address.rpartition("/")[2], *query.split("&")[:20]):
        _, dot, suffix = text.rpartition(".")
        if dot and (known := _KIND_OF_SUFFIX.get(suffix.lower())):
            return known
        if kind := _by_type(text.rpartition("=")[2].replace("%2F", "/").replace("%2f", "/")):
            return kind
    return None


def _by_type(said: str) -> Kind | None:
    """Of a content type such as `video/mp4`, or a bare word such as `mp4` or `video`."""
    family, _, rest = said.lower().strip().partition("/")
    if family in ("image", "video", "audio", "model") and (rest or family == said.lower()):
        return family  # type: ignore[return-value]
    return _KIND_OF_SUFFIX.get(family) if not rest else None


def _type_beside(fields: dict[str, Any]) -> str:
    return next((value for name in _TYPE_FIELDS if isinstance(value := fields.get(name), str)), "")


def _by_path(path: str) -> Kind | None:
    """The field's own name tells before that of what it stands in."""
    for name in reversed(path.lower().split(".")):
        for kind, words in _KIND_WORDS:
            if any(word in name for word in words):
                return kind
    return None


def _plain_text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    if not text or addresses_in(text) or is_placeholder(text) or strings.parsed(text) is not None:
        return None
    return value if isinstance(value, str) else text


def _only_words(value: Any) -> bool:
    """A list of words in a field that is not known to hold text, such as tags or actions."""
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def _collect(every: list[Found], node: Any, path: str, beside: dict[str, Any], otherwise: Kind, depth: int) -> None:
    """`beside` is the object that the node stands in: another of its fields may say of what type the file is."""
    if isinstance(node, str):
        if node:
            _collect_string(every, node, path, beside, otherwise, depth)
    elif depth > MAX_DEPTH:
        return
    elif isinstance(node, dict):
        for name, value in node.items():
            if value:
                _collect(every, value, f"{path}.{name}" if path else str(name), node, otherwise, depth + 1)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _collect(every, value, f"{path}.{index}" if path else str(index), beside, otherwise, depth + 1)


def _collect_string(
    every: list[Found], text: str, path: str, beside: dict[str, Any], otherwise: Kind, depth: int
) -> None:
    if found := [text] if is_placeholder(text) else addresses_in(text):
        # Most addresses tell their type themselves.
        said = "" if _by_suffix(found[0]) else _type_beside(beside)
        every.extend([Found(url, path, otherwise, said) for url in found])
    elif (inner := strings.parsed(text)) is not None:
        _collect(every, inner, path, {}, otherwise, depth + 1)
