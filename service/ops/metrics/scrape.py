"""GET /metrics: the counts of all processes, one query for what is open now, in the text format of Prometheus."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from service.core.errors import CallbridgeError
from service.ops.metrics.tally import Tally
from service.ports.metrics import MetricsStore, OpenWork

# The query walks everything that is open: after it a rest of so many times what it took, and at least a second.
REST, SHORTEST_REST = 20, 1.0
# Other processes see what this one counted so much later.
PUBLISH_SECONDS = 0.5


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
        self._open: OpenWork | None = None
        self._not_before = 0.0

    async def __call__(self) -> tuple[bytes, str]:
        """The text and its content type. Raises Unavailable."""
        total = Tally()
        total.add(self._tally.encoded())
        worker, own_streams = self._present()
        others, streams = await self._store.published_by_others(worker)
        for counts in others:
            total.add(counts)
        work = await self._open_work()
        # When somebody asks: prometheus-client takes 12 ms of a start and a megabyte.
        from service.ops.metrics.exposition import Now, exposition

        return exposition(total, Now(self._now(), work, streams + own_streams, self._version))

    async def keep_publishing(self) -> None:
        last = b""
        while True:
            await asyncio.sleep(PUBLISH_SECONDS)
            worker, streams = self._present()
            present = self._tally.encoded() + b" %d %d" % (worker, streams)
            if present != last:
                with suppress(CallbridgeError):
                    await self.publish()
                    last = present

    async def publish(self) -> None:
        """For the scrapes that other processes answer. Raises Unavailable."""
        worker, streams = self._present()
        await self._store.publish(worker, self._tally.encoded(), streams)

    async def _open_work(self) -> OpenWork:
        started = time.monotonic()
        if self._open is None or started >= self._not_before:
            self._open = await self._store.open_work(self._now())
            ended = time.monotonic()
            self._not_before = ended + max(SHORTEST_REST, REST * (ended - started))
        return self._open
