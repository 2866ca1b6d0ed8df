"""The JSON Schemas of `schemas/`, compiled once, and their faults as sentences.

A schema may carry `x-message`: the sentence for whatever is wrong with the value it describes. `x-rules` names rules
that JSON Schema cannot say, `x-warnings` those that only warn; whoever validates applies them.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
import orjson
from jsonschema_rs import ValidationError, ValidationErrorKind

from service.core.errors import Fault

_PACKAGE = Path(__file__).parents[1]
# A wheel carries the files inside of the package; in a checkout they are at the top.
FOLDER = _PACKAGE / "schemas" if (_PACKAGE / "schemas").is_dir() else _PACKAGE.parent / "schemas"
MAX_FAULTS = 50
# Describing each fault of a large document takes minutes: of a larger one only the beginning is described, of each list
# and object so many entries that this number is kept.
MAX_DESCRIBED = 2_000
_WINDOWS = (200, 50, 10, 3)
_MIN_FIELDS = 50
MAX_NAME = 60
# What is nested deeper can be read but not written again.
MAX_DEPTH = 100
_BASE = "callbridge:/schemas/"
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}
_LIMITS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "multipleOf": "must be divisible by {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "minProperties": "must have at least {} fields",
    "maxProperties": "must have at most {} fields",
    "pattern": "must match {}",
    "format": "must be a valid {}",
    "const": "must be {}",
}


@cache
def names() -> tuple[str, ...]:
    """Every schema file, as `faults` and `load` call it: the path under `schemas/` without `.json`."""
    return tuple(sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.json")))


@cache
def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return document


def faults(schema_name: str, document: Any, at: str = "") -> list[Fault]:
    """What is wrong with `document`, at most MAX_FAULTS; `at` goes before every pointer."""
    if _too_deep(document):
        return [Fault(at, f"is nested too deeply: at most {MAX_DEPTH} levels")]
    validator = _validator(schema_name)
    if not is_larger(document, MAX_DESCRIBED):
        return _described(validator.iter_errors(document), at)
    if validator.is_valid(document):
        return []
    beginning = _beginning(document)
    found = _described(validator.iter_errors(beginning), at)
    return found or [Fault(at + _longest(document), "is not valid somewhere behind its beginning")]


def null_fields(schema_name: str, document: dict[str, Any]) -> set[tuple[str | int, ...]]:
    """Paths of fields that are null where the schema wants a value."""
    validator = _validator(schema_name)
    if _too_deep(document) or validator.is_valid(document):
        return set()
    beginning = _beginning(document) if is_larger(document, MAX_DESCRIBED) else document
    errors = validator.iter_errors(beginning)
    paths = (tuple(error.instance_path) for error in errors if error.instance is None)
    return {path for path in paths if path and isinstance(path[-1], str)}


def is_larger(document: Any, values: int) -> bool:
    """Whether a document holds more than so many values; looks at no more than that."""
    waiting = [document]
    seen = 0
    while waiting:
        children = _children(waiting.pop())
        seen += len(children)
        if seen > values:
            return True
        waiting += [child for child in children if isinstance(child, dict | list)]
    return False


def _beginning(document: Any) -> Any:
    """The first entries of each list and object, so few that all of them together are not many."""
    for window in _WINDOWS:
        cut = _cut(document, window)
        if not is_larger(cut, MAX_DESCRIBED):
            break
    return cut


def _longest(document: Any) -> str:
    """The field with the most entries."""
    if not isinstance(document, dict) or not document:
        return ""
    return pointer(max(document, key=lambda name: len(_children(document[name]))))


def _cut(node: Any, window: int) -> Any:
    if isinstance(node, dict):
        fields = list(node.items())[: max(window, _MIN_FIELDS)]
        return {name: _cut(value, window) for name, value in fields}
    return [_cut(item, window) for item in node[:window]] if isinstance(node, list) else node


def _described(errors: Iterable[ValidationError], at: str) -> list[Fault]:
    found: dict[Fault, None] = {}
    for error in errors:
        for fault in _read(error, at):
            found.setdefault(fault)
            if len(found) == MAX_FAULTS:
                return list(found)
    return list(found)


def pointer(*parts: str | int) -> str:
    """A JSON pointer (RFC 6901); a very long name is cut."""
    return "".join("/" + _short(str(part)).replace("~", "~0").replace("/", "~1") for part in parts)


def _too_deep(document: Any) -> bool:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> Collection[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


@cache
def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        load(name), base_uri=f"{_BASE}{name}.json", retriever=_retrieve, validate_formats=True
    )


def _retrieve(uri: str) -> Any:
    return load(uri.removeprefix(_BASE).removesuffix(".json"))


def _short(text: str) -> str:
    return text if len(text) <= MAX_NAME else text[:MAX_NAME] + "…"


def _read(error: ValidationError, at: str) -> Iterator[Fault]:
    place = at + pointer(*error.instance_path)
    kind = error.kind
    if isinstance(kind, ValidationErrorKind.Required):
        yield Fault(place + pointer(kind.property), "is required")
    elif isinstance(kind, ValidationErrorKind.AdditionalProperties | ValidationErrorKind.UnevaluatedProperties):
        for name in kind.unexpected:
            yield Fault(place + pointer(name), "is not a field that is known here")
    elif sentence := _own_message(error):
        yield Fault(place, sentence)
    elif isinstance(kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        yield from _read_branches(error, kind.context, at)
    else:
        yield Fault(place, _sentence(kind))


def _read_branches(error: ValidationError, branches: list[list[ValidationError]], at: str) -> Iterator[Fault]:
    """Of several forms, the one whose type fits is what the user meant; else name the types that would fit."""
    wanted: list[str] = []
    meant: list[list[ValidationError]] = []
    for branch in branches:
        types = [name for inner in branch for name in _types_wanted(inner, error)]
        wanted.extend(name for name in types if name not in wanted)
        if not types:
            meant.append(branch)
    if len(meant) == 1:
        for inner in meant[0]:
            yield from _read(inner, at)
    elif wanted and not meant:
        yield Fault(at + pointer(*error.instance_path), _must_be(wanted))
    else:
        yield Fault(at + pointer(*error.instance_path), "has none of the allowed forms")


def _types_wanted(inner: ValidationError, outer: ValidationError) -> list[str]:
    """The types a form asks for, when the value itself has another one."""
    if isinstance(inner.kind, ValidationErrorKind.Type) and inner.instance_path == outer.instance_path:
        return list(inner.kind.types)
    return []


def _own_message(error: ValidationError) -> str | None:
    """The `x-message` of the schema object whose keyword failed."""
    location = error.absolute_keyword_location or ""
    uri, _, fragment = location.partition("#")
    if not uri.startswith(_BASE):
        return None
    node: Any = _retrieve(uri)
    for part in fragment.split("/")[1:-1]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        node = node[int(key)] if isinstance(node, list) else node[key]
    message = node.get("x-message") if isinstance(node, dict) else None
    return str(message) if message else None


def _must_be(types: list[str]) -> str:
    return "must be " + " or ".join(_TYPES.get(name, name) for name in types)


def _sentence(kind: ValidationErrorKind) -> str:
    if isinstance(kind, ValidationErrorKind.Type):
        return _must_be(list(kind.types))
    if isinstance(kind, ValidationErrorKind.Enum):
        return "must be one of " + ", ".join(orjson.dumps(option).decode() for option in kind.options)
    if isinstance(kind, ValidationErrorKind.UniqueItems):
        return "must not hold the same item twice"
    if kind.name in _LIMITS:
        value = kind.value if isinstance(kind.value, str) else orjson.dumps(kind.value).decode()
        return _LIMITS[kind.name].format(value)
    if kind.name in {"falseSchema", "not"}:
        return "is not allowed here"
    return "is not valid"
