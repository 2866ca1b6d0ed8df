"""Ending a loop that runs in the background."""

import asyncio

# Seconds until a task that goes on all the same is canceled again.
AGAIN = 0.1


async def cancel_and_wait(task: "asyncio.Task[None]") -> None:
    """Cancel it until it has ended: before Python 3.12 a cancellation is lost when it meets the end of a `wait_for`,
    and asyncpg waits with that."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN)
