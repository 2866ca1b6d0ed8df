"""Small joints: constructors, protocols and functions that a reader takes in at once, and no reaching into privates."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.test_layers import modules

MOST_ARGUMENTS = 5
MOST_METHODS = 6
# Subclasses of uvicorn's protocol and our reading of asyncio's: their methods are given by those libraries.
GIVEN_BY_A_LIBRARY = {"service.net.connection", "service.serving.protocol"}
# Public in spite of the underscore: of a NamedTuple, and of `os`.
PUBLIC = {"_asdict", "_replace", "_fields", "_exit"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def classes(path: Path) -> Iterator[tuple[ast.ClassDef, list[ast.FunctionDef | ast.AsyncFunctionDef]]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef):
            yield node, [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]


def wide_constructors() -> Iterator[str]:
    for name, path in modules().items():
        for node, methods in classes(path):
            for method in methods:
                count = len(method.args.args) + len(method.args.kwonlyargs) - 1
                if method.name == "__init__" and count > MOST_ARGUMENTS:
                    yield f"{name}.{node.name}"


def wide_protocols() -> Iterator[str]:
    for name, path in modules().items():
        for node, methods in classes(path):
            is_protocol = any(ast.unparse(base) == "Protocol" for base in node.bases)
            if is_protocol and len(methods) > MOST_METHODS and name not in GIVEN_BY_A_LIBRARY:
                yield f"{name}.{node.name}"


def test_a_constructor_takes_at_most_five_things() -> None:
    assert sorted(wide_constructors()) == []


def test_a_protocol_has_at_most_six_methods() -> None:
    assert sorted(wide_protocols()) == []


def own_names(path: Path) -> set[str]:
    """Private names that the module itself defines: attributes, methods, functions and fields."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in PUBLIC


def foreign_names(path: Path) -> Iterator[str]:
    own = own_names(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            yield from [ast.unparse(node)] if ast.unparse(node.value) != "self" else []


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_uses_no_private_name_of_another(name: str) -> None:
    assert list(foreign_names(modules()[name])) == []
