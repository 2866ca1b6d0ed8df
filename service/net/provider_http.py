"""HTTP towards providers: time limits, bounded responses, a bounded number of connections being opened, and which
failures surely happened before the request left."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from service.core.times import now_ms
from service.net.tls import trusted
from service.ports.providers import ProviderRequest, ProviderResponse, SubmitNotSent, SubmitUnclear

CONNECT, RESPONSE = 10.0, 30.0
# Total time limit, so a trickling response cannot hold a task.
WHOLE = 120.0
# An LLM may pause for a while between two chunks of its response.
PIECE = 120.0
MOST_BYTES = 48 * 1024 * 1024
# Connections being opened at once: thousands would all time out, and none would get through.
OPENING = 32
# Errors that can only happen before the request is sent.
SURELY_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_LEAVES = ("http11.send_request_headers.started", "http2.send_request_headers.started")


class HttpSender:
    """Raises SubmitNotSent or SubmitUnclear."""

    def __init__(self) -> None:
        # No kept connections: one that the provider closed meanwhile would look like a lost response. Certificates are
        # verified; a proxy from the environment is not for us.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(RESPONSE, connect=CONNECT, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
            verify=trusted(),
        )
        self._opening = asyncio.Semaphore(OPENING)

    async def send(self, request: ProviderRequest) -> ProviderResponse:
        slot = await self._slot()
        try:
            async with asyncio.timeout(WHOLE):
                async with self._response(request, RESPONSE, slot) as (head, chunks):
                    body = bytearray()
                    async for chunk in chunks:
                        body += chunk
                    return ProviderResponse(head.status, head.headers, bytes(body), head.received_at)
        except TimeoutError:
            raise SubmitUnclear("no complete response in time") from None

    async def open(self, request: ProviderRequest) -> tuple[ProviderResponse, AsyncGenerator[bytes, None]]:
        """The head, and the body as it arrives; closing the iterator closes the connection."""
        pieces = self._head_and_pieces(request, await self._slot())
        head = await anext(pieces)
        assert isinstance(head, ProviderResponse)
        return head, _bytes_of(pieces)

    async def _head_and_pieces(
        self, request: ProviderRequest, slot: "_Slot"
    ) -> AsyncGenerator[ProviderResponse | bytes, None]:
        async with self._response(request, PIECE, slot) as (head, chunks):
            yield head
            async for chunk in chunks:
                yield chunk

    async def _slot(self) -> "_Slot":
        await self._opening.acquire()
        return _Slot(self._opening)

    @asynccontextmanager
    async def _response(
        self, request: ProviderRequest, read: float, slot: "_Slot"
    ) -> AsyncIterator[tuple[ProviderResponse, AsyncIterator[bytes]]]:
        """Errors hold no address and no header: both may hold secrets."""
        timeout = httpx.Timeout(read, connect=CONNECT, pool=None)
        try:
            async with self._client.stream(
                request.method,
                request.url,
                headers=dict(request.headers),
                content=request.body,
                timeout=timeout,
                extensions={"trace": slot.watch},
            ) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                yield ProviderResponse(response.status_code, headers, b"", now_ms()), _bounded(response)
        except SURELY_NOT_SENT as error:
            raise SubmitNotSent(f"no connection ({type(error).__name__})") from None
        except httpx.InvalidURL:
            raise SubmitNotSent("the provider's address is not valid") from None
        except httpx.TimeoutException:
            raise SubmitUnclear("no response in time") from None
        except httpx.HTTPError as error:
            raise SubmitUnclear(f"the connection broke ({type(error).__name__})") from None
        finally:
            slot.release()

    async def close(self) -> None:
        await self._client.aclose()


class _Slot:
    """One of the connections that may be opened at once; released when the request is sent."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots: asyncio.Semaphore | None = slots

    async def watch(self, event: str, info: dict[str, Any]) -> None:
        if event in _LEAVES:
            self.release()

    def release(self) -> None:
        if self._slots is not None:
            self._slots.release()
            self._slots = None


async def _bounded(response: httpx.Response) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > MOST_BYTES:
            raise SubmitUnclear(f"the response is larger than {MOST_BYTES} bytes")
        yield chunk


async def _bytes_of(pieces: AsyncGenerator[ProviderResponse | bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in pieces:
            assert isinstance(piece, bytes)
            yield piece
    finally:
        await pieces.aclose()
