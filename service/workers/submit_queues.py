"""The submit queues of all provider accounts."""

import asyncio
from collections.abc import Sequence

from service.workers.submit_queue import ProviderQueue


class SubmitQueues:
    def __init__(self, queues: Sequence[ProviderQueue]) -> None:
        self._queues = {queue.provider.name: queue for queue in queues}

    def wake(self, provider: str, *, fresh: bool = False) -> None:
        """A task was queued (`fresh`), or a slot at the provider may be free."""
        if provider in self._queues:
            self._queues[provider].wake(fresh)

    def wake_all(self, *, fresh: bool = False) -> None:
        for queue in self._queues.values():
            queue.wake(fresh)

    def resting(self, provider: str) -> bool:
        """Whether a route of the provider is paused because it was busy."""
        return self._queues[provider].resting

    def on_canceled(self, task_id: str) -> None:
        """Close the stream of a canceled task, if this process holds it."""
        for queue in self._queues.values():
            queue.holder.close(task_id)

    @property
    def alive(self) -> bool:
        return all(queue.alive for queue in self._queues.values())

    def start(self) -> None:
        for queue in self._queues.values():
            queue.start()

    async def stop(self, patience: float) -> None:
        await asyncio.gather(*(queue.stop(patience) for queue in self._queues.values()))
