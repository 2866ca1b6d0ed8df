"""DNS lookups of receivers, without threads: a name server that never responds delays nobody else."""

import socket
from ipaddress import ip_address
from typing import Any

import aiodns

# Seconds for one query, and tries per server.
TIMEOUT, TRIES = 3.0, 2


class Lookups:
    """Works like `loop.getaddrinfo`. An attempt looks up at most one name, so open deliveries bound the lookups."""

    def __init__(self, nameservers: list[str] | None = None, port: int | None = None) -> None:
        """`nameservers` and `port` instead of those of the system."""
        self._nameservers = nameservers
        self._port = port
        # Made for the first query: it belongs to the event loop.
        self._resolver: aiodns.DNSResolver | None = None

    async def __call__(self, host: str, port: int, *, type: int) -> list[tuple[Any, Any, Any, Any, Any]]:
        """Raises OSError when the name has no address."""
        if (literal := _literal(host)) is not None:
            family = socket.AF_INET6 if literal.version == 6 else socket.AF_INET
            return [(family, type, 0, "", (host, port))]
        try:
            found = await self._made().getaddrinfo(host, family=socket.AF_UNSPEC, port=port, type=type)
        except aiodns.error.DNSError as error:
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
        # The rest of an IPv6 address (flow, scope) is kept: a link-local one needs its scope.
        return [(node.family, type, 0, "", (node.addr[0].decode(), *node.addr[1:])) for node in found.nodes]

    async def close(self) -> None:
        if self._resolver is not None:
            await self._resolver.close()

    def _made(self) -> aiodns.DNSResolver:
        if self._resolver is None:
            options: dict[str, Any] = {"timeout": TIMEOUT, "tries": TRIES}
            if self._port is not None:
                options |= {"udp_port": self._port, "tcp_port": self._port}
            self._resolver = aiodns.DNSResolver(self._nameservers, **options)
        return self._resolver


def _literal(host: str) -> Any:
    try:
        return ip_address(host)
    except ValueError:
        return None
