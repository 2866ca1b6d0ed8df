"""Reads the forms that some providers send in place of JSON: urlencoded or multipart."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from service.providers.strings import parsed

MAX_FIELDS, MAX_LEVELS = 1_000, 8
MAX_ESCAPES = 200_000
_FIELD_NAME = re.compile(r"[\w.-]{1,100}(?:\[[\w.-]{0,100}\]){0,8}", re.ASCII)
_PART_NAME = re.compile(r'name="([^"\r\n]{1,200})"')


def read_form(text: str) -> dict[str, Any] | None:
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
