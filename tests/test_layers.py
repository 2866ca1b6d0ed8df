"""Imports run one way, and the rooms do not know each other: they meet in `main`."""

import ast
from functools import cache
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[1] / "service"
INNER = {"ports", "wire", "core"}
SETTINGS = {"environment", "setting_values", "settings"}
# What each part may see of the others. A part is a folder or a file of service/.
MAY_SEE = {
    "core": set(),
    "environment": {"core"},
    "setting_values": {"environment", "core"},
    "settings": {"environment", "setting_values", "core"},
    "command": {"ops"} | SETTINGS,
    "ops": {"command", "files", "net", "preflight", "store"} | INNER | SETTINGS,
    "serving": {"core"},
    "server": {"serving"},
    "client": {"command", "wire"},
    "preflight": {"server", "core"} | SETTINGS,
    "wire": {"core"},
    "ports": {"core"},
    "net": INNER,
    "flows": INNER,
    "workers": {"flows"} | INNER,
    "store": INNER,
    "files": {"net"} | INNER,
    "providers": INNER,
    "outlets": {"net"} | INNER,
    "web": {"flows", "settings"} | INNER,
    "migrate": {"command", "store"} | INNER | SETTINGS,
    "transfer": {"command", "store"} | INNER | SETTINGS,
    "supervisor": set(),
    "archive": {"assembly", "command", "net", "store"} | INNER | SETTINGS,
    # Builds every part from the settings and joins them.
    "assembly": {"web", "flows", "workers", "store", "files", "providers", "outlets", "net", "ops"} | INNER | SETTINGS,
    "main": {"assembly", "server", "settings", "store", "web"},
}
# `tools` are applications of their own; nothing in the service imports them (test below).
ANYTHING = {"__main__", "__init__", "tools"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the service by its dotted name."""
    found = {}
    for path in SERVICE.rglob("*.py"):
        parts = path.relative_to(SERVICE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported(name: str, path: Path, hints: bool = True) -> set[str]:
    """The modules of the service that this one imports, inside functions too; `hints`: also for type hints only."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    if not hints:
        tree.body = [node for node in tree.body if not _only_for_hints(node)]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {one for one in found if one in modules() and one not in ("service", name)}


def _only_for_hints(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def part(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_sees_only_what_is_below_it(name: str) -> None:
    own = part(name)
    if own in ANYTHING:
        return
    seen = {part(other) for other in imported(name, modules()[name])} - {own}
    assert seen <= MAY_SEE[own], f"{name} may not import from {', '.join(sorted(seen - MAY_SEE[own]))}"


def test_nobody_below_main_sees_main() -> None:
    seen_by = {name for name, path in modules().items() if "service.main" in imported(name, path)}
    assert {part(name) for name in seen_by} <= ANYTHING


def test_the_service_does_not_import_its_tools() -> None:
    seen_by = {part(name) for name, path in modules().items() if any(part(o) == "tools" for o in imported(name, path))}
    assert seen_by <= {"tools", "__main__"}


def test_there_is_no_circle_of_imports() -> None:
    graph = {name: imported(name, path, hints=False) for name, path in modules().items()}
    while leaves := {name for name, seen in graph.items() if not seen & graph.keys() - {name}}:
        graph = {name: seen for name, seen in graph.items() if name not in leaves}
    assert not graph
