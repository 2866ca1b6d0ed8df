"""A form from a tree of shapes, and the value from the form.

A field's name in the form is the pointer into the input, `/lora_settings/0/lora_type`, so that a fault finds its field.
In the values between the two, None stands for a field that was left empty.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.web.page.forms import Form
from service.web.page.schema import Shape

# Suffix of a variants field's name that says which one is chosen.
CHOSEN = "!"
# Placeholder in the names of the template that `Add` copies, for the new item's number.
NEXT = "__N__"
MOST_ITEMS = 100
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Field:
    """`value` is what the control shows; `parts` are the fields inside, `blank` is what `Add` copies."""

    path: str
    label: str
    shape: Shape
    required: bool = False
    value: str = ""
    parts: tuple["Field", ...] = ()
    blank: "Field | None" = None

    @property
    def id(self) -> str:
        return "f" + re.sub(r"[^\w-]", "-", self.path)

    @property
    def pointer(self) -> str:
        """Where its value stands in the input."""
        return re.sub(rf"{CHOSEN}\d+", "", self.path)

    @property
    def previewed(self) -> bool:
        return self.shape.kind == "text" and ("image" in self.label or self.label.endswith("url"))

    @property
    def slider(self) -> bool:
        return self.shape.low is not None and self.shape.high is not None and self.shape.high <= 10_000


def fields_of(shape: Shape, value: Any = ABSENT) -> list[Field]:
    """The fields of an object; those it has no value for show their defaults."""
    found = value if isinstance(value, dict) else {}
    return [
        _field(f"/{_escaped(name)}", name, inner, required, found.get(name, ABSENT))
        for name, inner, required in shape.fields
    ]


def _field(path: str, label: str, shape: Shape, required: bool, value: Any) -> Field:
    if value is ABSENT:
        value = shape.default
    parts: tuple[Field, ...] = ()
    blank, shown = None, ""
    if shape.kind == "object":
        found = value if isinstance(value, dict) else {}
        parts = tuple(
            _field(f"{path}/{_escaped(name)}", name, inner, needed, found.get(name, ABSENT))
            for name, inner, needed in shape.fields
        )
    elif shape.kind == "list" and shape.item is not None:
        items = value if isinstance(value, list) else []
        count = max(len(items), shape.least, 1)
        padded = [*items, *[ABSENT] * (count - len(items))][: shape.most or MOST_ITEMS]
        parts = tuple(
            _field(f"{path}/{n}", f"{label} {n + 1}", shape.item, False, item) for n, item in enumerate(padded)
        )
        blank = _field(f"{path}/{NEXT}", f"{label} {NEXT}", shape.item, False, ABSENT)
    elif shape.kind == "variants":
        fitting = _fitting(shape, value)
        shown = str(fitting)
        parts = tuple(
            _field(f"{path}{CHOSEN}{n}", label, one, required, value if n == fitting else ABSENT)
            for n, (_, one) in enumerate(shape.variants)
        )
    else:
        shown = _shown(shape, value)
    return Field(path, label, shape, required, shown, parts, blank)


def _fitting(shape: Shape, value: Any) -> int:
    """The variant that a value is of; without one the first with fields, else the first."""
    kinds = [one.kind for _, one in shape.variants]
    if isinstance(value, list):
        wanted: tuple[str, ...] = ("list", "json")
    elif isinstance(value, str):
        wanted = ("text", "long")
    else:
        wanted = ("object", "json") if isinstance(value, dict) else ("object",)
    return next((kinds.index(kind) for kind in wanted if kind in kinds), 0)


def _shown(shape: Shape, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if shape.kind == "json":
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return orjson.dumps(value).decode()


def pairs_of(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """What a browser would send of these fields, untouched."""
    found: list[tuple[str, str]] = []
    for field in fields:
        if field.shape.kind == "variants":
            found.append((field.path + CHOSEN, field.value))
        elif not field.parts and field.shape.kind != "none":
            found.append((field.path, field.value))
        found += pairs_of(field.parts)
    return found


def value_of(shape: Shape, form: Form, path: str = "") -> Any:
    """The value that was typed, ABSENT when the form has no such field."""
    match shape.kind:
        case "object":
            found = {name: value_of(inner, form, f"{path}/{_escaped(name)}") for name, inner, _ in shape.fields}
            present = {name: value for name, value in found.items() if value is not ABSENT}
            return present if present or not path else ABSENT
        case "list":
            return _list_of(shape, form, path)
        case "variants":
            chosen = form.text(path + CHOSEN)
            if not chosen.isdigit() or int(chosen) >= len(shape.variants):
                return ABSENT
            return value_of(shape.variants[int(chosen)][1], form, f"{path}{CHOSEN}{chosen}")
        case "none":
            return ABSENT
    return _scalar(shape, form[path]) if path in form else ABSENT


def _list_of(shape: Shape, form: Form, path: str) -> Any:
    numbers = {int(found[1]) for name in form if (found := re.match(rf"{re.escape(path)}/(\d{{1,4}})(?=/|!|$)", name))}
    if not numbers or shape.item is None:
        return ABSENT
    items = [value_of(shape.item, form, f"{path}/{n}") for n in sorted(numbers)[:MOST_ITEMS]]
    return [item for item in items if item is not ABSENT and pruned(item) is not None] or None


def _scalar(shape: Shape, text: str) -> Any:
    if not text.strip():
        return None
    if shape.kind == "choice":
        return next((one for one in shape.choices if _shown(shape, one) == text), text)
    if shape.kind == "number":
        return _number(text.strip())
    if shape.kind == "json":
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if number - number == 0 else text


def pruned(value: Any) -> Any:
    """Without what was left empty; None when nothing is left."""
    if isinstance(value, dict):
        kept = {name: inner for name, item in value.items() if (inner := pruned(item)) is not None}
        return kept or None
    if isinstance(value, list):
        return [inner for item in value if (inner := pruned(item)) is not None] or None
    return value


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
