"""What a validator found, as faults with a pointer and a sentence."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

import orjson
from jsonschema_rs import ValidationError, ValidationErrorKind

from service.core.errors import Fault
from service.wire.schemas import BASE, retrieve

MAX_FAULTS = 50
MAX_NAME = 60
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


def faults_of(errors: Iterable[ValidationError], at: str) -> list[Fault]:
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


def _short(text: str) -> str:
    return text if len(text) <= MAX_NAME else text[:MAX_NAME] + "…"


def _read(error: ValidationError, at: str) -> Iterator[Fault]:
    place = at + pointer(*error.instance_path)
    kind = error.kind
    if isinstance(kind, ValidationErrorKind.Required):
        yield Fault(place + pointer(kind.property), "is required")
    elif isinstance(kind, ValidationErrorKind.AdditionalProperties | ValidationErrorKind.UnevaluatedProperties):
        for name in kind.unexpected:
            yield Fault(place + pointer(name), "is not a known field")
    elif sentence := _own_message(error):
        yield Fault(place, sentence)
    elif isinstance(kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        yield from _read_branches(error, kind.context, at)
    else:
        yield Fault(place, _sentence(kind))


def _read_branches(error: ValidationError, branches: list[list[ValidationError]], at: str) -> Iterator[Fault]:
    """Of several forms, the one whose type matches is what the user meant; else name the types that would."""
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
        yield Fault(at + pointer(*error.instance_path), "matches none of the allowed forms")


def _types_wanted(inner: ValidationError, outer: ValidationError) -> list[str]:
    """The types a form asks for, when the value itself has another one."""
    if isinstance(inner.kind, ValidationErrorKind.Type) and inner.instance_path == outer.instance_path:
        return list(inner.kind.types)
    return []


def _own_message(error: ValidationError) -> str | None:
    """The `x-message` of the schema object whose keyword failed."""
    location = error.absolute_keyword_location or ""
    uri, _, fragment = location.partition("#")
    if not uri.startswith(BASE):
        return None
    node: Any = retrieve(uri)
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
        return "must not contain the same item twice"
    if kind.name in _LIMITS:
        value = kind.value if isinstance(kind.value, str) else orjson.dumps(kind.value).decode()
        return _LIMITS[kind.name].format(value)
    if kind.name in {"falseSchema", "not"}:
        return "is not allowed here"
    return "is not valid"
