"""A receiver gets the first attempts for one task one after the other, in the order of its events."""

from service.core.delivery import Delivery


class TaskOrder:
    def __init__(self) -> None:
        # By task: what waits for the running first attempt.
        self._behind: dict[str, list[Delivery]] = {}
        self.waiting = 0

    def must_wait(self, delivery: Delivery) -> bool:
        """True: it is kept here until `done` returns it. False: it may be sent now."""
        if delivery.tries or delivery.task_id is None:
            return False
        behind = self._behind.get(delivery.task_id)
        if behind is None:
            self._behind[delivery.task_id] = []
            return False
        behind.append(delivery)
        self.waiting += 1
        return True

    def done(self, delivery: Delivery) -> list[Delivery] | None:
        """After the attempt of `delivery`: those that waited for it, oldest first."""
        if delivery.tries or delivery.task_id is None:
            return None
        behind = self._behind.pop(delivery.task_id, None)
        if behind:
            self.waiting -= len(behind)
        return behind

    def take_all(self) -> list[Delivery]:
        """Remove and return everything that waits; it will not be sent from here."""
        found = [item for items in self._behind.values() for item in items]
        for items in self._behind.values():
            items.clear()
        self.waiting = 0
        return found
