"""Reading JSON as providers send it.

A strict reading comes first. Only when that fails is the text read again with the damage seen in real traffic repaired:
byte order marks, other encodings, raw control characters, lone surrogates, NaN, a notice printed around the document,
gzip, forms. Nothing is invented: a truncated document stays unreadable.
"""

import codecs
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import orjson
from msgspec import Struct

MAX_INFLATED = 48 * 1024 * 1024
# Megabytes of tiny values take twenty times their size in memory; real bodies are large because of base64.
MAX_VALUES, COUNTED_FROM = 400_000, 1024 * 1024
MAX_TRIES = 50
# Repairs that cost more than plain parsing are tried up to this size: larger ones would stall the process.
MAX_ESCAPES, MAX_SEARCHED = 200_000, 2 * 1024 * 1024
MAX_NOTICE = 200
MAX_FIELDS, MAX_LEVELS = 1_000, 8

_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair of surrogates
    r"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r'|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
    r"|(?P<unknown>\\)"
)
_BARE_WORD = re.compile(
    r'"(?:[^"\\]++|\\.)*+(?:"|\Z)'  # a string is passed over as a whole
    r"|(?P<none>[-+]?+\b(?:nan|inf(?:inity)?+|undefined|none)\b)"
    r"|(?P<comma>,(?=\s*+[}\]]))",
    re.IGNORECASE | re.DOTALL,
)
_OBJECT = re.compile(r'\{(?=\s*+["}])')
_FIELD_NAME = re.compile(r"[\w.-]{1,100}(?:\[[\w.-]{0,100}\]){0,8}", re.ASCII)
_PART_NAME = re.compile(r'name="([^"\r\n]{1,200})"')


class Document(Struct, frozen=True):
    """`repairs` says what was wrong with the text; empty for valid JSON."""

    value: dict[str, Any]
    repairs: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The task's warning that its provider's JSON had to be repaired."""
        return warning(self.repairs)


def warning(repairs: Iterable[str]) -> tuple[str, ...]:
    what = "; ".join(repairs)
    return (f"What the provider sent was not plain JSON ({what}); it was read all the same",) if what else ()


def read(body: bytes) -> Document | None:
    """The JSON object of a body; None when there is none in it."""
    if len(body) > COUNTED_FROM and body.count(b",") > MAX_VALUES:
        return None
    try:
        value = orjson.loads(body)
    except ValueError:
        return _read_leniently(body)
    return Document(value) if isinstance(value, dict) else _unwrapped(value, ())


def parsed(text: str) -> Any:
    """The valid JSON inside a string; None when it is no object and no list."""
    if text[:1] not in ("{", "[") and text[:200].lstrip()[:1] not in ("{", "["):
        return None
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def _unwrapped(value: Any, repairs: tuple[str, ...]) -> Document | None:
    """An object that came as JSON in a string, or as the one item of a list."""
    if isinstance(value, str):
        inner = read(value.encode(errors="replace")) if value.lstrip()[:1] == "{" else None
        return inner and Document(inner.value, (*repairs, "it was JSON inside a string", *inner.repairs))
    if isinstance(value, list) and len(value) == 1:
        value, repairs = value[0], (*repairs, "it was a list of one object")
    return Document(value, repairs) if isinstance(value, dict) else None


def _read_leniently(body: bytes) -> Document | None:
    repairs: list[str] = []
    inflated = _inflated(body)
    if inflated is not body:
        repairs.append("it was compressed")
        if len(inflated) > COUNTED_FROM and inflated.count(b",") > MAX_VALUES:
            return None
    text = _decoded(inflated, repairs)
    try:
        value = _parse(text, repairs)
    except RecursionError:
        return None
    if isinstance(value, dict):
        return Document(value, tuple(repairs))
    return _unwrapped(value, tuple(repairs))


def _inflated(body: bytes) -> bytes:
    """The content of gzip or zlib data, at most MAX_INFLATED of it; any other body as it is."""
    if not (body.startswith(b"\x1f\x8b") or (body[:1] == b"\x78" and int.from_bytes(body[:2], "big") % 31 == 0)):
        return body
    inflater = zlib.decompressobj(wbits=47)
    try:
        content = inflater.decompress(body, MAX_INFLATED)
    except zlib.error:
        return body
    return content if inflater.eof else b""


def _decoded(body: bytes, repairs: list[str]) -> str:
    if body.startswith(codecs.BOM_UTF8):
        repairs.append("it began with a byte order mark")
        body = body[3:]
    elif body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        repairs.append("it was UTF-16")
        return body.decode("utf-16", "replace")
    elif b"\0" in body[:2]:
        repairs.append("it was UTF-16")
        return body.decode("utf-16-be" if body[:1] == b"\0" else "utf-16-le", "replace")
    try:
        return body.decode()
    except UnicodeDecodeError:
        repairs.append("it held bytes that are not UTF-8")
        return body.decode(errors="replace")


def _parse(text: str, repairs: list[str]) -> Any:
    """None when no document is found. Each step reads the text a bounded number of times."""
    if 0 < text.count("\\") <= MAX_ESCAPES:
        text = _with_valid_escapes(text)
    value = _value_in(text, repairs)
    if value is None and len(text) <= MAX_SEARCHED:
        value = _value_in(_BARE_WORD.sub(_replaced, text), repairs)
    if value is not None:
        return value
    form = _form(text)
    if form is not None:
        repairs.append("it was a form")
    return form


def _value_in(text: str, repairs: list[str]) -> Any:
    try:
        value = _DECODER.decode(text)
    except ValueError:
        return _embedded(text, repairs)
    if not repairs:
        repairs.append("it held what JSON does not allow")
    return value


def _with_valid_escapes(text: str) -> str:
    """Goes from backslash to backslash: a regular expression over all of a large text takes a second."""
    pieces, done, place = [], 0, text.find("\\")
    while place >= 0:
        match = _ESCAPE.match(text, place)
        assert match is not None
        if match["lone"] or match["unknown"]:
            pieces += [text[done:place], "\\ufffd" if match["lone"] else "\\\\"]
            done = match.end()
        place = text.find("\\", match.end())
    return "".join([*pieces, text[done:]])


def _replaced(match: re.Match[str]) -> str:
    if match["none"]:
        return "null"
    return "" if match["comma"] else match.group()


def _number(text: str) -> int | float | None:
    """The store has no integers beyond 64 bits: larger ones become floats."""
    if len(text) <= 18:
        return int(text)
    return _float(text)


def _float(text: str) -> float | None:
    value = float(text)
    return value if abs(value) < float("inf") else None


_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda _: None, parse_int=_number, parse_float=_float)


def _embedded(text: str, repairs: list[str]) -> Any:
    """The longest object inside other text, such as notices that PHP printed before it."""
    best, place, after = None, (0, 0), 0
    for _ in range(MAX_TRIES):
        match = _OBJECT.search(text, after, after + MAX_SEARCHED)
        if match is None:
            break
        start = match.start()
        try:
            value, after = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as error:
            # Everything before this position is part of a broken object.
            after = max(error.pos, start + 1)
            continue
        if after - start > place[1] - place[0]:
            best, place = value, (start, after)
    if best is not None:
        around = f"{text[: place[0]][:MAX_NOTICE]} {text[place[1] :][:MAX_NOTICE]}"
        repairs.append(f'it stood in other text: "{plain(around)}"')
    return best


def plain(text: str) -> str:
    """Text for a sentence: no tags, no line breaks, not long."""
    text = " ".join(_TAG.sub(" ", text[: 4 * MAX_NOTICE]).split())
    return text if len(text) <= MAX_NOTICE else text[:MAX_NOTICE] + "…"


_TAG = re.compile(r"<[^<>]{0,300}>?")


def _form(text: str) -> dict[str, Any] | None:
    """A form, urlencoded or multipart; `output[0]` and `data[task_id]` are lists and objects, as PHP writes them."""
    pairs = list(_parts(text) if text.startswith("--") else _urlencoded(text))
    found: dict[str, Any] = {}
    for name, value in pairs[:MAX_FIELDS]:
        if _FIELD_NAME.fullmatch(name) is None:
            return None
        _put(found, name.replace("]", "").split("["), value)
    return _with_lists(found) if found else None


def _urlencoded(text: str) -> list[tuple[str, str]]:
    if "=" not in text[:300] or text.count("%") > MAX_ESCAPES or text.lstrip()[:1] in ("{", "[", "<", '"'):
        return []
    try:
        return parse_qsl(text.strip(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError:
        return []


def _parts(text: str) -> Iterator[tuple[str, str]]:
    boundary = text[: text.find("\n", 0, 200)].strip()
    if len(boundary) < 3:
        return
    for part in text.split(boundary, MAX_FIELDS)[1:]:
        head, _, content = part.replace("\r\n", "\n").partition("\n\n")
        if name := _PART_NAME.search(head[:2_000]):
            yield name[1], content.removesuffix("\n")


def _put(found: dict[str, Any], path: list[str], value: str) -> None:
    for name in path[:-1][:MAX_LEVELS]:
        inner = found.setdefault(name or str(len(found)), {})
        if not isinstance(inner, dict):
            return
        found = inner
    found[path[-1] or str(len(found))] = value if (inner := parsed(value)) is None else inner


def _with_lists(node: dict[str, Any]) -> dict[str, Any]:
    def value_of(child: Any) -> Any:
        if not isinstance(child, dict):
            return child
        if child and all(name.isdigit() for name in child):
            return [value_of(item) for item in child.values()]
        return _with_lists(child)

    return {name: value_of(child) for name, child in node.items()}
