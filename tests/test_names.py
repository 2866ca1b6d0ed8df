"""A class name means one thing in the whole service."""

import ast
from collections import Counter

from tests.test_layers import modules

# Still shared. Take a name out when it is resolved; add none.
SHARED = {
    "Progress",
    "Pumped",
}


def shared_names() -> set[str]:
    counts = Counter(
        node.name
        for path in modules().values()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    return {name for name, count in counts.items() if count > 1}


def test_no_further_classes_share_a_name() -> None:
    assert shared_names() <= SHARED
