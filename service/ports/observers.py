"""Observers of commits and of delivery attempts. They must be quick and must not raise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.core.delivery import Delivery
from service.core.event import Event
from service.core.task import Task
from service.ports.outlets import Outcome


@dataclass(slots=True)
class Observers:
    """`event` gets each event after its commit, in order of seq, whichever process stored it; `elsewhere` gets those of
    other processes before that. Of this process alone, `commit` gets the seconds of each commit, and `finish` then the
    tasks that it finished."""

    event: list[Callable[[Event], None]] = field(default_factory=list)
    elsewhere: list[Callable[[Event], None]] = field(default_factory=list)
    commit: list[Callable[[float], None]] = field(default_factory=list)
    finish: list[Callable[[Sequence[Task]], None]] = field(default_factory=list)


class AttemptObserver(Protocol):
    """Called once the outcome is on disk."""

    def attempted(self, delivery: Delivery, outcome: Outcome) -> None:
        """`delivery` is as the attempt left it."""
        ...
