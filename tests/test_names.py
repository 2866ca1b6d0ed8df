"""A class name means one thing everywhere in this repository."""

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_two_classes_share_a_name() -> None:
    counts = Counter(
        node.name
        for folder in ("service", "tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts  # some of its packages bring Python along
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in counts.items() if count > 1} == set()
