"""The files in `schemas/` as components of the OpenAPI document, in the form that client generators understand.

A generator makes one class of each component, so every object that a file defines under `$defs` becomes a component
of its own, named in PascalCase, and `title` is that name. What JSON Schema leaves implicit is written out: an object
without properties takes any, an array without items holds anything.
"""

import re
from typing import Any

import orjson

from service.wire import schemas

PREFIX = "#/components/schemas/"
FOLDERS = ("api/", "events/", "callbacks/")


def components() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in schemas.names():
        if not name.startswith(FOLDERS):
            continue
        document = _whole(name)
        for part, schema in document.pop("$defs", {}).items():
            found[component(name, part)] = _component(schema, name, component(name, part))
        if len(document.keys() - {"$schema", "title", "description"}) > 0:
            found[component(name)] = _component(document, name, component(name))
    return found


def component(name: str, part: str = "") -> str:
    """`api/task.list` is TaskList, its `$defs/file` TaskListFile; `events/ping` is PingEvent, so that none collide."""
    folder, _, file = name.rpartition("/")
    words = re.split(r"[^A-Za-z0-9]+", file) + re.split(r"[^A-Za-z0-9]+", part)
    suffix = {"events": "Event", "callbacks": "Callback"}.get(folder, "") if not part else ""
    return "".join(word[:1].upper() + word[1:] for word in words) + suffix


def reference(name: str) -> dict[str, str]:
    """Of a file under schemas/; the folder api/ may be left out."""
    return {"$ref": PREFIX + component(name)}


def _whole(name: str) -> dict[str, Any]:
    """The document, merged with the one it extends."""
    document = dict(schemas.load(name))
    if base := document.pop("$ref", None):
        other = dict(schemas.load(_file_of(base, name)[0]))
        document = other | document | {"properties": other["properties"] | document.get("properties", {})}
    return document


def _component(schema: dict[str, Any], name: str, title: str) -> dict[str, Any]:
    described = {"title": title, "description": schema.get("description") or schema.get("title") or title}
    return {**_open(_moved(schema, name)), **described}


def _moved(value: Any, name: str) -> Any:
    """The value with its references rewritten to this document."""
    if isinstance(value, list):
        return [_moved(item, name) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(target := value.get("$ref"), str):
        # Generators ignore whatever stands next to a reference.
        file, part = _file_of(target, name)
        return {"$ref": PREFIX + component(file, part)}
    moved = {key: _moved(item, name) for key, item in value.items() if key not in ("$schema", "$defs")}
    return _open(moved)


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with what JSON Schema leaves implicit spelled out."""
    kinds = schema.get("type", ())
    if "object" in kinds and "properties" not in schema:
        schema = {"additionalProperties": True} | schema
    if "array" in kinds and "items" not in schema:
        schema = {"items": {}} | schema
    if "default" in schema:
        # openapi-typescript treats a property with a default as always present.
        default = schema.pop("default")
        about = f"{schema['description']} " if "description" in schema else ""
        schema["description"] = f"{about}Default: {orjson.dumps(default).decode()}"
    if all(isinstance(item, str) for item in schema.get("enum", [None])):
        schema = {"type": "string"} | schema
    return schema


def _file_of(target: str, name: str) -> tuple[str, str]:
    """The file that a reference in `name` leads to, and the name of its part (empty: all of it)."""
    file, _, fragment = target.partition("#")
    folder = name.partition("/")[0]
    if file:
        name = (file.removeprefix("../") if "/" in file else f"{folder}/{file}").removesuffix(".json")
    return name, fragment.removeprefix("/$defs/")
