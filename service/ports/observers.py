"""Observers of delivery attempts; those of commits are the store's own (`ports.store.Observers`)."""

from typing import Protocol

from service.core.delivery import Delivery
from service.ports.outlets import Outcome


class AttemptObserver(Protocol):
    """Told after the outcome is on disk. It must be quick and must not raise."""

    def attempted(self, delivery: Delivery, outcome: Outcome) -> None:
        """`delivery` is as the attempt left it."""
        ...
