"""Opens connections to receivers: shared DNS lookups, checked addresses, one try per address, TLS."""

import asyncio
import os
import socket
import ssl

from service.core.targets import PrivateTargets
from service.net.connection import Connection, Origin, Reason, Unreachable
from service.net.guard import Address, CheckedUrl, Resolver, TargetRefused, resolve


class Connector:
    """Only dials addresses that `guard` has checked. `connect_timeout` covers lookup, TCP and TLS, in seconds."""

    def __init__(
        self, private: PrivateTargets, connect_timeout: float, resolver: Resolver | None, ssl_context: ssl.SSLContext
    ) -> None:
        self._private = private
        self._connect_timeout = connect_timeout
        self._resolver = resolver
        self._ssl = ssl_context
        self._lookups: dict[Origin, asyncio.Task[list[Address]]] = {}

    async def open(self, target: CheckedUrl, deadline: float) -> Connection:
        """Raises Unreachable."""
        until = min(deadline, asyncio.get_running_loop().time() + self._connect_timeout)
        try:
            async with asyncio.timeout_at(until):
                addresses = await self._addresses(target)
                sock = await _dial(addresses, until)
                return await self._start(sock, target)
        except TimeoutError:
            raise Unreachable("timeout", "No connection in time.") from None

    async def _addresses(self, target: CheckedUrl) -> list[Address]:
        """Callers of one origin share a lookup: a dead name server must not take all the resolver's threads."""
        origin = (target.scheme, target.host, target.port)
        lookup = self._lookups.get(origin)
        if lookup is None:
            lookup = asyncio.create_task(resolve(target, self._private, self._resolver))
            self._lookups[origin] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(origin))
        try:
            return await asyncio.shield(lookup)
        except TargetRefused as error:
            raise Unreachable("refused_target", str(error)) from None
        except (OSError, UnicodeError):
            raise Unreachable("dns", "The host name has no address.") from None

    async def _start(self, sock: socket.socket, target: CheckedUrl) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(loop, (target.scheme, target.host, target.port))
        secure = target.scheme == "https"
        try:
            await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._ssl if secure else None,
                server_hostname=target.host if secure else None,
            )
        except ssl.SSLCertVerificationError as error:
            cause = error.verify_message.rstrip(".")
            raise Unreachable("tls", f"The certificate is not accepted: {cause}.") from None
        except OSError:
            reason: Reason = "tls" if secure else "connect"
            raise Unreachable(reason, "The connection broke off while it was set up.") from None
        except BaseException:
            connection.abort()
            raise
        return connection


async def _dial(addresses: list[Address], until: float) -> socket.socket:
    """Tries one after the other; each gets its share of the time, so a dead one leaves some for the next."""
    loop = asyncio.get_running_loop()
    failure = OSError()
    for index, (family, sockaddr) in enumerate(addresses):
        try:
            async with asyncio.timeout((until - loop.time()) / (len(addresses) - index)):
                return await _connected(family, sockaddr)
        except OSError as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise failure
    raise Unreachable("connect", f"{os.strerror(failure.errno)}." if failure.errno else "No connection.")


async def _connected(family: socket.AddressFamily, sockaddr: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock
