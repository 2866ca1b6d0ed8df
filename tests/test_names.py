"""A class name means one thing in the whole service."""

import ast
from collections import Counter

from tests.test_layers import modules

# The two engines are twins on purpose: the same names in store/sqlite and store/postgres count once.
ENGINES = ("service.store.sqlite.", "service.store.postgres.")
# Still shared. Take a name out when it is resolved; add none.
SHARED = {
    "Account",
    "Bridge",
    "Connection",
    "Event",
    "Feed",
    "File",
    "Lanes",
    "Lease",
    "Numbers",
    "Observers",
    "Prepared",
    "Progress",
    "Pumped",
    "Result",
    "Scene",
    "Subscriber",
    "Tally",
    "Target",
}


def shared_names() -> set[str]:
    homes = set()
    for name, path in modules().items():
        home = "store" if name.startswith(ENGINES) else name
        homes |= {(node.name, home) for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
    counts = Counter(name for name, _ in homes if not name.startswith("_"))
    return {name for name, count in counts.items() if count > 1}


def test_no_further_classes_share_a_name() -> None:
    assert shared_names() <= SHARED
