"""Retry writes until they are stored, so that no report of a provider is lost while the disk is full."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import TypeVar

from service.core.errors import Unavailable

log = logging.getLogger("callbridge.store")
T = TypeVar("T")
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
LAST_PAUSE = 60.0


async def retry_until_stored(write: Callable[[], Awaitable[T]]) -> T:
    """Retry until it succeeds; ends only with the process."""
    for pause in chain(PAUSES, repeat(LAST_PAUSE)):
        try:
            return await write()
        except Unavailable as error:
            log.warning("not stored yet, next try in about %g s: %s", pause, error)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the retries
    raise AssertionError  # the pauses are endless
