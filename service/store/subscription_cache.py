"""All subscriptions in memory, by owner and event type: needed for every event and every attempt."""

from collections.abc import Collection, Iterable

from service.core.subscription import Subscription

NOBODY: Collection[Subscription] = ()


class SubscriptionCache:
    """Changes are visible at once to the rest of their transaction; `undo` is for a rollback."""

    def __init__(self) -> None:
        self._by_id: dict[str, Subscription] = {}
        # By id. Every attempt asks twice, so it is the dictionary's own method.
        self.get = self._by_id.get
        self._interested: dict[str, dict[str, dict[str, Subscription]]] = {}
        # The values before each change of the running transaction.
        self._before: list[tuple[str, Subscription | None]] = []

    def fill(self, items: Iterable[Subscription]) -> None:
        """Replace everything."""
        self._by_id.clear()
        self._interested.clear()
        self._before.clear()
        for item in items:
            self._set(item.id, item)

    def interested(self, owner: str, event_type: str) -> Collection[Subscription]:
        """Enabled subscriptions of this owner that list this type."""
        types = self._interested.get(owner)
        found = types.get(event_type) if types else None
        return found.values() if found else NOBODY

    def put(self, item: Subscription) -> None:
        self._before.append((item.id, self._by_id.get(item.id)))
        self._set(item.id, item)

    def remove(self, subscription_id: str) -> None:
        self._before.append((subscription_id, self._by_id.get(subscription_id)))
        self._set(subscription_id, None)

    def committed(self) -> None:
        self._before.clear()

    def undo(self) -> None:
        while self._before:
            self._set(*self._before.pop())

    def _set(self, subscription_id: str, item: Subscription | None) -> None:
        old = self._by_id.pop(subscription_id, None)
        if old is not None and old.enabled:
            types = self._interested[old.owner]
            for name in old.events:
                types[name].pop(old.id, None)
        if item is None:
            return
        self._by_id[item.id] = item
        if item.enabled:
            types = self._interested.setdefault(item.owner, {})
            for name in item.events:
                types.setdefault(name, {})[item.id] = item
