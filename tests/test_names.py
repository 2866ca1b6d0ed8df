"""A class name means one thing in the whole service."""

import ast
from collections import Counter

from tests.test_layers import modules


def test_no_two_classes_share_a_name() -> None:
    counts = Counter(
        node.name
        for path in modules().values()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in counts.items() if count > 1} == set()
