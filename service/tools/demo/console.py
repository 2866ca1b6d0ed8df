"""The demo's output: a line for each step, with the milliseconds since the submit."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

PATIENCE = 15.0


class StepFailed(Exception):
    """A step failed or timed out; the text is shown to the person."""


class Console:
    def __init__(self) -> None:
        self._start = time.time()

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def chapter(self, title: str) -> None:
        self.say(f"\n{title}")
        self._start = time.time()

    def step(self, who: str, what: str, at: float | None = None) -> None:
        """`at` in seconds since the epoch, when it was not just now."""
        passed = ((at or time.time()) - self._start) * 1000
        self.say(f"{max(passed, 0):6.0f} ms  {who:<9} {what}")


@asynccontextmanager
async def within(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise StepFailed(f"{what} did not come within {PATIENCE:g} s.") from None


def expect(response: httpx.Response, status: int) -> httpx.Response:
    if response.status_code != status:
        asked = f"{response.request.method} {response.url.path}"
        raise StepFailed(f"{asked} should return {status}, and returned {response.status_code}: {response.text[:300]}")
    return response
