"""Parses JSON that is almost valid, as some providers send it: every repair is bounded in time."""

import json
import re
from typing import Any

from service.providers.forms import read_form
from service.providers.strings import plain

MAX_TRIES = 50
# Repairs that cost more than plain parsing are tried up to this size: larger ones would stall the process.
MAX_ESCAPES, MAX_SEARCHED = 200_000, 2 * 1024 * 1024
MAX_NOTICE = 200

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


def parse_leniently(text: str, repairs: list[str]) -> Any:
    """None when no document is found. Each step reads the text a bounded number of times."""
    if 0 < text.count("\\") <= MAX_ESCAPES:
        text = _with_valid_escapes(text)
    value = _value_in(text, repairs)
    if value is None and len(text) <= MAX_SEARCHED:
        value = _value_in(_BARE_WORD.sub(_replaced, text), repairs)
    if value is not None:
        return value
    form = read_form(text)
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
