"""Reading JSON as providers send it.

A strict reading comes first. Only when that fails is the text read again with the damage seen in real traffic repaired:
byte order marks, other encodings, raw control characters, lone surrogates, NaN, a notice printed around the document,
gzip, forms. Nothing is invented: a truncated document stays unreadable.
"""

import codecs
import zlib
from collections.abc import Iterable
from typing import Any

import orjson
from msgspec import Struct

from service.providers.repair import parse_leniently

MAX_INFLATED = 48 * 1024 * 1024
# Megabytes of tiny values take twenty times their size in memory; real bodies are large because of base64.
MAX_VALUES, COUNTED_FROM = 400_000, 1024 * 1024


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
        value = parse_leniently(text, repairs)
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
