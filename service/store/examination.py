"""What `doctor` finds in a database."""

from typing import NamedTuple


class Examination(NamedTuple):
    """`secret` is that of this database alone, None before the first start. `commit_seconds`: one on this disk.
    `unreadable` names damaged rows; `damage` is what is wrong with the file itself."""

    secret: str | None
    commit_seconds: float
    unreadable: list[str]
    damage: list[str]
