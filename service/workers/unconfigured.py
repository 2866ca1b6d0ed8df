"""Warn at a start of open tasks of a provider whose key was removed: they are neither sent nor checked."""

import logging
from collections.abc import Iterable

from service.core.task import Status
from service.ports.queries import TaskQuery
from service.ports.store import Store

log = logging.getLogger("callbridge")
OPEN = (Status.QUEUED, Status.UNCONFIRMED, Status.SUBMITTED, Status.PROCESSING)
# More are not counted exactly.
MOST = 1000


async def warn_of_open_tasks(store: Store, providers: Iterable[str]) -> None:
    for provider in providers:
        waiting = 0
        for status in OPEN:
            waiting += len(await store.tasks.find(TaskQuery(None, provider=provider, status=status.value, limit=MOST)))
        if waiting:
            log.warning(
                "%s tasks of %s are open, and %s_API_KEY is not set: they are neither sent nor checked. Results "
                "that %s reports by callback are still accepted.",
                waiting if waiting < MOST else f"{MOST} or more",
                provider,
                provider.upper(),
                provider,
            )
