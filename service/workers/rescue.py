"""After a restart: what was under way when the process ended."""

from collections.abc import Mapping

from service.core.points import Point
from service.core.transitions import Timing, fail, unconfirmed
from service.ports import (
    Provider,
    Store,
)


async def recover(store: Store, providers: Mapping[str, Provider], timing: Timing) -> None:
    """After a restart: what was being sent is perhaps at the provider; what was held as a stream is cut."""
    lost = "The service ended while it held this stream; the provider may have charged for it."
    for task in await store.tasks.held(tuple(providers)):
        if providers[task.provider].streams(task):
            await store.tasks.change(Point.RECOVER, task.id, fail("stream_interrupted", lost, timing, by_us=True))
    reason = "The service ended while it sent this task; the provider may have it."
    for task in await store.tasks.perhaps_sent():
        await store.tasks.change(Point.RECOVER, task.id, unconfirmed(reason, timing))
    await store.tasks.check_all_open(timing.now())
