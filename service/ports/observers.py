"""Observers: told what happened, after it is on disk. They must be quick and must not raise."""

from collections.abc import Sequence
from typing import Protocol

from service.core.delivery import Delivery
from service.core.task import Task
from service.ports.outlets import Outcome


class CommitObserver(Protocol):
    def committed(self, seconds: float, finished: Sequence[Task]) -> None:
        """Once for each transaction of this process: how long its commit took, and the tasks that it finished."""
        ...


class AttemptObserver(Protocol):
    def attempted(self, delivery: Delivery, outcome: Outcome) -> None:
        """`delivery` is as the attempt left it."""
        ...
