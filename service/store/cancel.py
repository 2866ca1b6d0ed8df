"""End a loop that runs in the background."""

import asyncio

# Seconds until a task that is still running is cancelled again.
AGAIN = 0.1


async def cancel_and_wait(task: "asyncio.Task[None]") -> None:
    """Cancel it until it has ended. Before Python 3.12 a cancellation is lost at the end of a `wait_for`, as in
    asyncpg."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN)
