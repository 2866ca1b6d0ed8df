"""Validate documents against the JSON Schemas, also large and deeply nested ones in bounded time."""

from collections.abc import Collection
from functools import cache
from typing import Any

import jsonschema_rs

from service.core.errors import Fault
from service.wire.schema_faults import faults_of, pointer
from service.wire.schemas import BASE, load, retrieve

# Describing every fault of a large document takes minutes, so only its beginning is described: of each list and object
# as many entries as keep the whole below this number of values.
MAX_DESCRIBED = 2_000
_WINDOWS = (200, 50, 10, 3)
_MIN_FIELDS = 50
# Deeper nesting can be parsed but not serialised again.
MAX_DEPTH = 100


def faults(schema_name: str, document: Any, at: str = "") -> list[Fault]:
    """What is wrong with `document`, at most MAX_FAULTS; `at` goes before every pointer."""
    if _too_deep(document):
        return [Fault(at, f"is nested too deeply: at most {MAX_DEPTH} levels")]
    validator = _validator(schema_name)
    if not is_larger(document, MAX_DESCRIBED):
        return faults_of(validator.iter_errors(document), at)
    if validator.is_valid(document):
        return []
    beginning = _beginning(document)
    found = faults_of(validator.iter_errors(beginning), at)
    return found or [Fault(at + _longest(document), "is not valid, beyond its first entries")]


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
    """Whether a document holds more than this number of values; looks at no more."""
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
    """The first entries of each list and object, few enough to be described."""
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
        load(name), base_uri=f"{BASE}{name}.json", retriever=retrieve, validate_formats=True
    )
