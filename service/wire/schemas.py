"""The JSON Schemas of `schemas/`.

A schema may carry `x-message`: the sentence for whatever is wrong with the value it describes. `x-rules` names rules
that JSON Schema cannot express, `x-warnings` those that only warn; the code that validates applies them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import orjson

_PACKAGE = Path(__file__).parents[1]
# A wheel carries the files inside the package; in a checkout they are at the top.
FOLDER = _PACKAGE / "schemas" if (_PACKAGE / "schemas").is_dir() else _PACKAGE.parent / "schemas"
# Under which the schemas refer to each other.
BASE = "callbridge:/schemas/"


@cache
def names() -> tuple[str, ...]:
    """Every schema, by its path under `schemas/` without `.json`."""
    return tuple(sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.json")))


@cache
def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return document


def retrieve(uri: str) -> Any:
    return load(uri.removeprefix(BASE).removesuffix(".json"))
