"""/readyz: does everything that should go on go on?"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from service.core.errors import Unavailable
from service.core.times import now_ms
from service.ports.metrics import MetricsStore

# A step that has not succeeded for so long, and a delivery that has been due for so long with nobody at work on it,
# stand still: with the time until somebody tries, it is seen within 20 s.
PATIENCE = 12.0
# The search for such deliveries walks the lanes: a rest of so many times what it took, and at least so many seconds.
REST, SHORTEST_REST = 20, 2.0
LANES = 1000


class OwnLanes(Protocol):
    """The deliveries of this process."""

    def neglects(self, lane: str) -> bool:
        """Is it ours, enabled, and yet nobody sends, claims or waits for a moment in it?"""
        ...


class Readiness:
    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        store: MetricsStore,
        lanes: OwnLanes,
        standing_still: Callable[[float], list[str]],
        parts: Mapping[str, Callable[[], bool]],
    ) -> None:
        """`probe` raises Unavailable when nothing can be written; each of `parts` says whether it is well."""
        self._probe = probe
        self._store = store
        self._lanes = lanes
        self._standing_still = standing_still
        self._parts = parts
        self._neglected: dict[str, float] = {}
        self._not_before = 0.0

    async def troubles(self) -> list[str]:
        """The names of what stands still or is broken."""
        found = []
        try:
            await self._probe()
            if await self._deliveries_neglected():
                found.append("deliveries")
        except Unavailable:
            found.append("store")
        # Asked after the write above: that is how a store that is well again finds out.
        found += [name for name, well in self._parts.items() if not well()]
        return list(dict.fromkeys(found + self._standing_still(PATIENCE)))

    async def _deliveries_neglected(self) -> bool:
        """Twice in a row, so that a lane which is about to look is not blamed."""
        started = time.monotonic()
        if started >= self._not_before:
            due = await self._store.lanes_due(now_ms() - int(PATIENCE / 2 * 1000), LANES)
            ended = time.monotonic()
            self._not_before = ended + max(SHORTEST_REST, REST * (ended - started))
            neglected = filter(self._lanes.neglects, due)
            self._neglected = {lane: self._neglected.get(lane, started) for lane in neglected}
        return any(started - since >= PATIENCE / 2 for since in self._neglected.values())
