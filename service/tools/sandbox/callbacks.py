"""Sends callbacks as the providers do: a failed attempt is repeated a few times, then dropped."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx

from .ledger import CallbackAttempt, Entry

DRIP_SECONDS = 0.5
DRIP_PIECES = 5
# With thousands of requests at once the client spends its time looking for a connection.
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class OutgoingCallback:
    url: str
    body: bytes
    status: str  # of the task in the body, for the ledger
    entry: Entry
    headers: dict[str, str] = field(default_factory=dict)
    attempts: int = 1
    pause: float = 5.0  # seconds between attempts
    drip: bool = False


class CallbackSender:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._places = asyncio.Semaphore(AT_ONCE)

    async def send(self, call: OutgoingCallback) -> bool:
        """One attempt; true when the response is 2xx."""
        content = _drip(call.body) if call.drip else call.body
        headers = {"Content-Type": "application/json", "Content-Length": str(len(call.body)), **call.headers}
        try:
            async with self._places:
                response = await self._client.post(call.url, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            call.entry.callbacks.append(CallbackAttempt(call.status, None, type(error).__name__))
            return False
        call.entry.callbacks.append(CallbackAttempt(call.status, response.status_code))
        return response.is_success

    async def repeat(self, call: OutgoingCallback) -> None:
        """The remaining attempts after a failed first one."""
        for _ in range(call.attempts - 1):
            await asyncio.sleep(call.pause)
            if await self.send(call):
                return


async def _drip(body: bytes) -> AsyncIterator[bytes]:
    size = max(1, -(-len(body) // DRIP_PIECES))
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(DRIP_SECONDS / DRIP_PIECES)
