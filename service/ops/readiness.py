"""/readyz: is everything making progress?"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from service.core.errors import Unavailable
from service.core.times import now_ms
from service.ports.metrics import MetricsStore

# Seconds. A step that has not succeeded for so long, or a delivery that has been due for so long and is not worked on,
# is stuck. Together with the interval of the checks, it is noticed within 20 s.
PATIENCE = 12.0
# Pause between searches for such deliveries: so many times as long as the last one took, and at least so many seconds.
REST, SHORTEST_REST = 20, 2.0
LANES = 1000


class OwnLanes(Protocol):
    """The deliveries of this process."""

    def neglects(self, lane: str) -> bool:
        """Whether the lane is ours and enabled, and yet is neither sending, claiming nor waiting."""
        ...


class Readiness:
    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        store: MetricsStore,
        lanes: OwnLanes,
        stuck: Callable[[float], list[str]],
        parts: Mapping[str, Callable[[], bool]],
    ) -> None:
        """`probe` raises Unavailable when nothing can be written; each of `parts` says whether it is healthy."""
        self._probe = probe
        self._store = store
        self._lanes = lanes
        self._stuck = stuck
        self._parts = parts
        self._neglected: dict[str, float] = {}
        self._not_before = 0.0

    async def troubles(self) -> list[str]:
        """The names of what is stuck or broken."""
        found = []
        try:
            await self._probe()
            if await self._deliveries_neglected():
                found.append("deliveries")
        except Unavailable:
            found.append("store")
        # After the write above, by which a recovered store notices that it has recovered.
        found += [name for name, is_healthy in self._parts.items() if not is_healthy()]
        return list(dict.fromkeys(found + self._stuck(PATIENCE)))

    async def _deliveries_neglected(self) -> bool:
        """Twice in a row, so that a lane which is just about to claim does not count."""
        started = time.monotonic()
        if started >= self._not_before:
            due = await self._store.lanes_due(now_ms() - int(PATIENCE / 2 * 1000), LANES)
            ended = time.monotonic()
            self._not_before = ended + max(SHORTEST_REST, REST * (ended - started))
            neglected = filter(self._lanes.neglects, due)
            self._neglected = {lane: self._neglected.get(lane, started) for lane in neglected}
        return any(started - since >= PATIENCE / 2 for since in self._neglected.values())
