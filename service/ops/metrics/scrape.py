"""GET /metrics: the counts of all processes, one query for what is open now, in the text format of Prometheus."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from service.core.errors import CallbridgeError
from service.ops.metrics.tally import Tally
from service.ports.metrics import MetricsStore, OpenWork

# The query walks everything that is open: after it a rest of so many times what it took, and at least a second.
REST, SHORTEST_REST = 20, 1.0
# Other processes see what this one counted so much later.
PUBLISH_SECONDS = 0.5
# The counts of workers that are gone are added up this often.
FOLD_SECONDS = 600.0


class Present(NamedTuple):
    """This process now: its number as a worker, and the streams that it serves."""

    worker: int
    streams: int


class Scrape:
    def __init__(
        self,
        store: MetricsStore,
        tally: Tally,
        present: Callable[[], Present],
        version: str,
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._tally = tally
        self._present = present
        self._version = version
        self._now = now
        # Last, by the number that this process had as a worker: it gets another one when its lease was ended.
        self._published: dict[int, bytes] = {}
        self._open: OpenWork | None = None
        self._not_before = 0.0

    async def __call__(self) -> tuple[bytes, str]:
        """The text and its content type. Raises Unavailable."""
        worker, own_streams = self._present()
        own = self._counted_as(worker)
        others, streams = await self._store.published_by_others(worker)
        total = sum_of([own, *others])
        work = await self._open_work()
        # When somebody asks: prometheus-client takes 12 ms of a start and a megabyte.
        from service.ops.metrics.exposition import Now, exposition

        return exposition(total, Now(self._now(), work, streams + own_streams, self._version))

    async def keep_publishing(self) -> None:
        last = b""
        fold_at = 0.0
        while True:
            await asyncio.sleep(PUBLISH_SECONDS)
            worker, streams = self._present()
            present = self._tally.encoded() + b" %d %d" % (worker, streams)
            with suppress(CallbridgeError):
                if present != last:
                    await self.publish()
                    last = present
                if time.monotonic() >= fold_at:
                    await self._store.fold(lambda counts: sum_of(counts).encoded())
                    fold_at = time.monotonic() + FOLD_SECONDS

    async def publish(self) -> None:
        """For the scrapes that other processes answer. Raises Unavailable."""
        worker, streams = self._present()
        counts = self._counted_as(worker)
        if await self._store.publish(worker, counts, streams):
            self._published[worker] = counts

    def _counted_as(self, worker: int) -> bytes:
        """What this process counted, without what stands under an earlier number of it."""
        own = Tally()
        own.add(self._tally.encoded())
        for number, counts in self._published.items():
            if number != worker:
                own.add(counts, -1)
        return own.encoded()

    async def _open_work(self) -> OpenWork:
        started = time.monotonic()
        if self._open is None or started >= self._not_before:
            self._open = await self._store.open_work(self._now())
            ended = time.monotonic()
            self._not_before = ended + max(SHORTEST_REST, REST * (ended - started))
        return self._open


def sum_of(counts: Sequence[bytes]) -> Tally:
    total = Tally()
    for encoded in counts:
        total.add(encoded)
    return total
