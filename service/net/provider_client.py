"""The one HTTP client for provider calls: time limits, bounded answers, and which failures are sure."""

import asyncio
from collections.abc import AsyncIterator

import httpx

from service.core.times import now_ms
from service.ports import ProviderReply, ProviderRequest, SubmitNotSent, SubmitUnclear

CONNECT, ANSWER = 10.0, 30.0
# An answer that drips is none.
WHOLE = 120.0
# An LLM may think for a while between two pieces of its answer.
PIECE = 120.0
MOST_BYTES = 48 * 1024 * 1024
# What can only happen before the request leaves.
SURELY_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class HttpSender:
    def __init__(self) -> None:
        # No kept connections: one that the provider closed meanwhile would look like a lost answer. Certificates are
        # verified; a proxy from the environment is not for us.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(ANSWER, connect=CONNECT, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, request: ProviderRequest) -> ProviderReply:
        try:
            async with asyncio.timeout(WHOLE):
                return await self._whole(request)
        except TimeoutError:
            raise SubmitUnclear("no whole answer in time") from None

    async def _whole(self, request: ProviderRequest) -> ProviderReply:
        chunks = self._exchange(request, ANSWER)
        head = await anext(chunks)
        assert isinstance(head, ProviderReply)
        body = bytearray(head.body)
        async for chunk in chunks:
            assert isinstance(chunk, bytes)
            body += chunk
        return ProviderReply(head.status, head.headers, bytes(body), head.received_at)

    async def stream(self, request: ProviderRequest) -> AsyncIterator[ProviderReply | bytes]:
        """A refusal (status other than 200) comes whole, in the head."""
        chunks = self._exchange(request, PIECE)
        head = await anext(chunks)
        assert isinstance(head, ProviderReply)
        if head.status != 200:
            body = b"".join([chunk async for chunk in chunks if isinstance(chunk, bytes)])
            yield ProviderReply(head.status, head.headers, body, head.received_at)
            return
        yield head
        async for chunk in chunks:
            yield chunk

    async def _exchange(self, request: ProviderRequest, read: float) -> AsyncIterator[ProviderReply | bytes]:
        """A head first, then the body in chunks. Errors hold no address and no header: both may hold secrets."""
        timeout = httpx.Timeout(read, connect=CONNECT, pool=None)
        try:
            async with self._client.stream(
                request.method, request.url, headers=dict(request.headers), content=request.body, timeout=timeout
            ) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                yield ProviderReply(answer.status_code, headers, b"", now_ms())
                size = 0
                async for chunk in answer.aiter_bytes():
                    size += len(chunk)
                    if size > MOST_BYTES:
                        raise SubmitUnclear(f"the answer is larger than {MOST_BYTES} bytes")
                    yield chunk
        except SURELY_NOT_SENT as error:
            raise SubmitNotSent(f"no connection ({type(error).__name__})") from None
        except httpx.InvalidURL:
            raise SubmitNotSent("the provider's address is not valid") from None
        except httpx.TimeoutException:
            raise SubmitUnclear("no answer in time") from None
        except httpx.HTTPError as error:
            raise SubmitUnclear(f"the connection broke ({type(error).__name__})") from None

    async def close(self) -> None:
        await self._client.aclose()
