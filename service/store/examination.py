"""What `doctor` learns from a database."""

from typing import NamedTuple


class Examination(NamedTuple):
    """`secret` is that of this database alone, None before the first start. `commit_seconds`: one on this disk.
    `unreadable`: the ids of tasks whose rows were set aside."""

    secret: str | None
    commit_seconds: float
    unreadable: list[str]
