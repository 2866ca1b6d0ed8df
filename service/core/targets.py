"""Which private addresses the service may call, besides all public ones."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class PrivateTargets:
    """`hosts` are lower-case names without a trailing dot; `everything` allows any target (development)."""

    everything: bool = False
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def allows_host(self, host: str) -> bool:
        """Whether this name may be called over http:// and may resolve to a private address."""
        return self.everything or host.lower().removesuffix(".") in self.hosts

    def allows_address(self, address: str) -> bool:
        """Whether this private IP address may be called; False when it is not an IP address."""
        if self.everything:
            return True
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self.networks)


NO_PRIVATE_TARGETS = PrivateTargets()
ALL_PRIVATE_TARGETS = PrivateTargets(everything=True)


def network(text: str) -> Network | None:
    """`10.0.0.0/8`, `fd00::/8` or a single address; None for a host name. Raises ValueError if host bits are set."""
    bare = text.strip("[]")
    if "/" in bare or ":" in bare or bare.rpartition(".")[2].isdigit():
        return ip_network(bare)
    return None
