"""Bytes of all deliveries that wait in memory."""

from collections.abc import Iterable

from service.core.delivery import Delivery

MOST = 32 * 1024 * 1024
# About the size of a delivery without its body.
OVERHEAD = 600


class Memory:
    def __init__(self) -> None:
        self.used = 0

    @property
    def full(self) -> bool:
        return self.used >= MOST

    def add_one(self, size: int) -> None:
        """A delivery with a body of so many bytes."""
        self.used += size + OVERHEAD

    def remove_one(self, size: int) -> None:
        self.used -= size + OVERHEAD

    def add(self, items: Iterable[Delivery]) -> None:
        # A body may be shared with other lanes, but counts each time.
        self.used += sum(len(item.body) + OVERHEAD for item in items)

    def remove(self, items: Iterable[Delivery]) -> None:
        self.used -= sum(len(item.body) + OVERHEAD for item in items)
