"""The published lists (`schemas/catalog.json`): models, task types, LoRA names. Unknown names only warn."""

import difflib
from collections.abc import Iterable
from typing import Any

from service.wire import schemas

MAX_SHOWN = 80


def models(provider: str) -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = schemas.load("catalog")[provider]["models"]
    return known


def names(provider: str, kind: str) -> list[str]:
    """A published list: `lora_type` or `control_type`."""
    listed: list[str] = schemas.load("catalog")[provider][kind]
    return listed


def schema_of(provider: str, model: str, task_type: str) -> str | None:
    """The schema of an input, None for a pair that is not listed."""
    entry = models(provider).get(model)
    schema: str | None = entry["task_types"].get(task_type) if entry else None
    return schema


def unknown(what: str, name: str, listed: Iterable[str]) -> str:
    """The warning about a name that is not listed."""
    known = nearest(name, listed)
    return f'{what} "{name[:MAX_SHOWN]}" is not in the published lists; sent as asked. The nearest known is "{known}"'


def nearest(name: str, listed: Iterable[str]) -> str:
    by_fold = {item.casefold(): item for item in listed}
    # difflib takes quadratic time: of a very long name only the beginning is compared.
    return by_fold[difflib.get_close_matches(name.casefold()[:MAX_SHOWN], by_fold, 1, 0.0)[0]]
