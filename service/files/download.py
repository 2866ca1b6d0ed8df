"""Downloads result files. The servers are strangers', so everything about a response is bounded."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urljoin

import httpcore
from msgspec import Struct

from service.core.targets import PrivateTargets
from service.files.bodies import FileOnItsWay, decoded, paced, too_large, within
from service.net.guard import CheckedUrl, Resolver, TargetRefused, check_url, resolve
from service.net.tls import trusted
from service.ports.copies import DownloadFailed

MAX_REDIRECTS = 3
REDIRECTS = frozenset((301, 302, 303, 307, 308))
GONE = frozenset((404, 410))
# Characters of an address that are not escaped again.
_URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"


class Limits(Struct, frozen=True):
    """Seconds and bytes. `slowest` bytes must arrive in each `window` of waiting; `whole` limits all waiting."""

    max_bytes: int
    connect: float = 10.0
    silence: float = 30.0
    window: float = 30.0
    slowest: int = 64 * 1024
    whole: float = 3600.0


class FileDownloader:
    """GET without any credentials, to public addresses only. Follows up to three redirects, checking each."""

    def __init__(
        self, limits: Limits, *, private: PrivateTargets, agent: str, resolver: Resolver | None = None
    ) -> None:
        self._limits = limits
        self._private = private
        self._resolver = resolver
        self._tls = trusted()
        self._headers = [(b"User-Agent", agent.encode()), (b"Accept", b"*/*"), (b"Accept-Encoding", b"identity")]

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[FileOnItsWay]:
        for _ in range(MAX_REDIRECTS + 1):
            target = self._checked(url)
            async with self._get(target) as response:
                where = _header(response, b"location")
                if response.status in REDIRECTS and where:
                    url = urljoin(url, where)
                    continue
                _refuse(response)
                yield FileOnItsWay(target.path.partition("?")[0], self._body(response))
                return
        raise DownloadFailed(f"The address redirects more than {MAX_REDIRECTS} times.", final=True)

    def _checked(self, url: str) -> CheckedUrl:
        try:
            return check_url(quote(url, safe=_URL_CHARACTERS), self._private)
        except TargetRefused as refused:
            raise _refused(refused) from None

    @asynccontextmanager
    async def _get(self, target: CheckedUrl) -> AsyncIterator[httpcore.Response]:
        limits = self._limits
        dialer = _Dialer(target, self._private, self._resolver)
        # A pool of its own: no connection is reused, and the addresses were checked for this URL only.
        async with httpcore.AsyncConnectionPool(self._tls, network_backend=dialer) as pool:
            try:
                # Limits the whole head, however slowly it trickles in.
                async with asyncio.timeout(limits.connect + limits.silence):
                    response = await pool.handle_async_request(self._request(target))
            except TargetRefused as refused:
                raise _refused(refused) from None
            except _FAULTS as error:
                raise _failure(error) from None
            try:
                yield response
            finally:
                await response.aclose()

    def _request(self, target: CheckedUrl) -> httpcore.Request:
        limits = self._limits
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        timeout = {"connect": limits.connect, "read": limits.silence, "write": limits.connect, "pool": limits.connect}
        headers = [(b"Host", target.authority.encode()), *self._headers]
        return httpcore.Request("GET", url, headers=headers, extensions={"timeout": timeout})

    def _body(self, response: httpcore.Response) -> AsyncIterator[bytes]:
        limits = self._limits
        length = _header(response, b"content-length")
        if length is not None and length.isdigit() and int(length) > limits.max_bytes:
            raise too_large(limits.max_bytes)
        raw = paced(_received(response), limits.window, limits.slowest, limits.whole)
        return within(decoded(raw, _header(response, b"content-encoding")), limits.max_bytes)


class _Dialer(httpcore.AnyIOBackend):
    """Dials only checked addresses: what a name resolves to can change between check and connect."""

    def __init__(self, target: CheckedUrl, private: PrivateTargets, resolver: Resolver | None) -> None:
        self._target = target
        self._private = private
        self._resolver = resolver

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await resolve(self._target, self._private, self._resolver)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except (OSError, UnicodeError):
            raise DownloadFailed("The host name has no address.") from None
        failure: Exception = httpcore.ConnectError()
        for _, (address, *_rest) in addresses:
            share = None if timeout is None else timeout / len(addresses)
            try:
                return await super().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


_FAULTS = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, TimeoutError, OSError)


async def _received(response: httpcore.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_stream():
            yield chunk
    except _FAULTS as error:
        raise _failure(error) from None


def _failure(error: Exception) -> DownloadFailed:
    if isinstance(error, httpcore.TimeoutException | TimeoutError):
        return DownloadFailed("The server did not respond in time.")
    if isinstance(error, httpcore.ConnectError):
        return DownloadFailed("No connection to the server.")
    if isinstance(error, httpcore.RemoteProtocolError):
        return DownloadFailed("The response was cut off, or is not HTTP/1.1.")
    return DownloadFailed("The connection broke.")


def _refused(refused: TargetRefused) -> DownloadFailed:
    return DownloadFailed(f"The address is refused: {refused}", final=True)


def _refuse(response: httpcore.Response) -> None:
    """Raises DownloadFailed unless the whole file follows."""
    status = response.status
    if status in GONE:
        raise DownloadFailed(f"The provider no longer has the file (status {status}).", final=True)
    if status == 206 and _is_whole(_header(response, b"content-range")):
        return
    if status == 206:
        raise DownloadFailed("The response holds only a part of the file.")
    if status != 200:
        raise DownloadFailed(f"The server responded with status {status}.")


def _is_whole(content_range: str | None) -> bool:
    """`bytes 0-99/100`"""
    unit, _, rest = (content_range or "").partition(" ")
    span, _, size = rest.partition("/")
    return unit == "bytes" and size.isdigit() and span == f"0-{int(size) - 1}"


def _header(response: httpcore.Response, name: bytes) -> str | None:
    found = next((value for key, value in response.headers if key.lower() == name), None)
    return None if found is None else found.decode("latin-1")
