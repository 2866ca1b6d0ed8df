"""A JSON Schema of `schemas/` as a tree of fields, with references resolved and `allOf` merged."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from posixpath import join, normpath
from typing import Any

import orjson

from service.wire import schemas

# Deeper than this a value is written as JSON.
DEEPEST = 5
LONG_TEXTS = ("prompt", "text", "content", "lyrics")
OURS = "Filled in by the service"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a value may be. `kind`: text, long, number, choice, json, object, list, variants, or none (not allowed).

    `fields` are an object's, `item` is a list's, `variants` are (word, shape) of which one is chosen.
    """

    kind: str
    hint: str = ""
    default: Any = None
    low: float | None = None
    high: float | None = None
    step: str = "any"
    choices: tuple[Any, ...] = ()
    least: int = 0
    most: int | None = None
    fields: tuple[tuple[str, "Shape", bool], ...] = ()
    item: "Shape | None" = None
    variants: tuple[tuple[str, "Shape"], ...] = ()


@cache
def shape_of(name: str) -> Shape:
    """Of the schema `name`, such as piapi/flux/txt2img-dev."""
    return _shape(name, schemas.load(name), "", 0)


def _shape(base: str, schema: Mapping[str, Any], field: str, depth: int) -> Shape:
    base, schema = _merged(base, schema)
    hint, default = _about(schema), schema.get("default")
    if schema.get("maxItems") == 0 or "not" in schema or hint.startswith(OURS):
        return Shape("none", str(schema.get("description") or schema.get("x-message") or "is not allowed here"))
    types = _types(schema)
    if "enum" in schema or types == {"boolean"}:
        return Shape("choice", hint, default, choices=tuple(schema.get("enum", (True, False))))
    if choices := [one for one in schema.get("anyOf") or schema.get("oneOf") or () if _types(one) != {"null"}]:
        return _variants([_shape(base, one, field, depth + 1) for one in choices], hint)
    if types & {"integer", "number"}:
        return _number(schema, types, hint, default)
    if types == {"object"} and (depth == 0 or (schema.get("properties") and depth < DEEPEST)):
        required = schema.get("required", ())
        return Shape(
            "object",
            hint,
            fields=tuple(
                (name, _shape(base, inner, name, depth + 1), name in required)
                for name, inner in schema.get("properties", {}).items()
            ),
        )
    if types == {"array"} and schema.get("items") and depth < DEEPEST:
        item = _shape(base, schema["items"], field, depth + 1)
        return Shape("list", hint, default, least=schema.get("minItems", 0), most=schema.get("maxItems"), item=item)
    if types == {"string"}:
        return Shape("long" if any(word in field for word in LONG_TEXTS) else "text", hint, default)
    return Shape("json", hint, default)


def _variants(shapes: list[Shape], hint: str) -> Shape:
    if len(shapes) == 1:
        return shapes[0]
    words = {"object": "fields", "list": "list", "text": "text", "long": "text", "json": "JSON"}
    return Shape("variants", hint, variants=tuple((words.get(one.kind, one.kind), one) for one in shapes))


def _number(schema: Mapping[str, Any], types: set[str], hint: str, default: Any) -> Shape:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    whole = "number" not in types
    step = str(schema.get("multipleOf", 1)) if whole else "any"
    return Shape("number", hint, default, low, high, step)


def _about(schema: Mapping[str, Any]) -> str:
    """Its description, range and default, in one line."""
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    parts = [str(schema.get("description", "")).rstrip(".")]
    if low is not None and high is not None:
        parts.append(f"{_plain(low)} to {_plain(high)}")
    else:
        limits = (("at least", low), ("above", above), ("at most", high))
        parts += [f"{words} {_plain(limit)}" for words, limit in limits if limit is not None]
    if "multipleOf" in schema:
        parts.append(f"divisible by {_plain(schema['multipleOf'])}")
    if "default" in schema:
        parts.append(f"default {orjson.dumps(schema['default']).decode()}")
    return "; ".join(part for part in parts if part)


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def _types(schema: Mapping[str, Any]) -> set[str]:
    found = schema.get("type", ())
    return {found} if isinstance(found, str) else set(found) - {"null"} or set(found)


def _merged(base: str, schema: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Merged with its reference and its `allOf`; its own keywords win."""
    found: dict[str, Any] = {}
    parts = list(schema.get("allOf", ()))
    if "$ref" in schema:
        parts.insert(0, {"$ref": schema["$ref"]})
    for part in parts:
        where, inner = _resolved(base, part["$ref"]) if "$ref" in part else (base, part)
        base_of_part, whole = _merged(where, inner)
        found = _joined(found, _absolute(base_of_part, whole))
    return base, _joined(found, {name: value for name, value in schema.items() if name not in ("allOf", "$ref")})


def _joined(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    joined = {**one, **other}
    joined["required"] = [*one.get("required", ()), *other.get("required", ())]
    joined["properties"] = {**one.get("properties", {}), **other.get("properties", {})}
    if not (joined["properties"] or "type" in joined):
        del joined["properties"]
    elif "type" not in joined and joined["properties"]:
        joined["type"] = "object"
    return joined


def _resolved(base: str, reference: str) -> tuple[str, dict[str, Any]]:
    file, _, fragment = reference.partition("#")
    name = normpath(join(base, "..", file)).removesuffix(".json") if file and not file.startswith("/") else base
    if file.startswith("/"):
        name = file.removeprefix("/").removesuffix(".json")
    node: Any = schemas.load(name)
    for part in fragment.split("/")[1:]:
        node = node[part]
    return name, node


def _absolute(base: str, schema: Any) -> Any:
    """Makes references inside name their file: they are merged into a schema from another file."""
    if isinstance(schema, dict):
        return {
            name: (_absolute_reference(base, value) if name == "$ref" else _absolute(base, value))
            for name, value in schema.items()
        }
    return [_absolute(base, item) for item in schema] if isinstance(schema, list) else schema


def _absolute_reference(base: str, reference: str) -> str:
    if reference.startswith("/"):
        return reference
    name, _ = _resolved(base, reference)
    return f"/{name}.json#{reference.partition('#')[2]}"
