"""Preparation of an input that all providers share: drop nulls and keys, refuse blank prompts."""

from typing import Any

from service.core.errors import Fault
from service.wire import validation

# Warnings per task; more would add nothing.
MAX_WARNINGS = 50
_KEYS = frozenset(("key", "apikey", "xapikey", "authorization", "accesstoken", "secretkey"))
_APART = str.maketrans("", "", "-_ ")
# With one of these a task has something to work with besides its prompt.
_MATERIAL = ("image", "video", "audio", "url", "lyrics", "file", "task_id", "model_file", "mask", "frame", "text")


def is_key(name: str) -> bool:
    """Whether a field of an input is named like an API key; callers' keys are never stored."""
    return name.casefold().translate(_APART) in _KEYS


def without_keys(input: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in input.items() if not is_key(name)}


def without_nulls(schema: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document without fields that are null where the schema wants a value: SDKs send null for what is not set."""
    while paths := validation.null_fields(schema, document):
        document = _without(document, paths)
    return document


def _without(node: Any, paths: set[tuple[str | int, ...]]) -> Any:
    if not paths:
        return node
    below: dict[str | int, set[tuple[str | int, ...]]] = {}
    for first, *rest in paths:
        below.setdefault(first, set()).add(tuple(rest))
    if isinstance(node, dict):
        return {
            name: _without(value, below[name] - {()}) if name in below else value
            for name, value in node.items()
            if () not in below.get(name, ())
        }
    return [_without(item, below.get(index, set())) for index, item in enumerate(node)]


def blank_prompt(input: dict[str, Any], *, required: bool) -> list[Fault]:
    """An empty prompt is refused before it is paid for. Where it is not required, only when there is nothing else."""
    prompt = input.get("prompt")
    if not isinstance(prompt, str) or prompt.strip():
        return []
    if not required and any(_is_material(name, value) for name, value in input.items()):
        return []
    return [Fault("/input/prompt", "must not be empty")]


def _is_material(name: str, value: Any) -> bool:
    return bool(value) and name != "negative_prompt" and any(word in name.lower() for word in _MATERIAL)


def not_called(field: str) -> str:
    return f"{field} is filled by the service: this hook will not be called; use callback_url of the task instead"
