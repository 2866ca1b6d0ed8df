"""Which addresses may be called: strict URL parsing, and a check of every address the host resolves to."""

import asyncio
import re
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Protocol

import idna

from service.core.targets import NO_PRIVATE_TARGETS, PrivateTargets

LONGEST_URL = 2048
HTTPS_ONLY = "The URL must start with https://."
DEFAULT_PORTS = {"http": 80, "https": 443}

URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.ASCII)
AUTHORITY = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?", re.ASCII)
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# A name whose last label is a number is an IPv4 address to every resolver: 2130706433, 0x7f.1, 127.1.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
PRIVATE_NAMES = frozenset(("localhost", "local", "internal"))

# Listed here because what `ipaddress.is_global` means changed between patch releases of Python.
REFUSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's own services inside every virtual network
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Global unicast is 2000::/3. The first three are all the rest: ::1 and ::/96, 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64),
# 100::/64, 5f00::/16, fc00::/7, fe80::/10, fec0::/10, ff00::/8 and what nobody has been given yet.
REFUSED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "::/3",
        "4000::/2",
        "8000::/1",
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class TargetRefused(Exception):
    """The text is a sentence for the person who gave the URL; it holds no part of the URL."""


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """`host`: ASCII, a name in lower case or an address without brackets. `path`: with the query, may hold secrets."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Resolver(Protocol):
    """`loop.getaddrinfo`, or a function with the same result."""

    async def __call__(self, host: str, port: int, *, type: int) -> list[tuple[Any, Any, Any, Any, Any]]: ...


def check_url(url: str, private: PrivateTargets) -> CheckedUrl:
    """Raises TargetRefused. Resolves nothing: a name that passes may still resolve to a private address."""
    if len(url) > LONGEST_URL:
        raise TargetRefused(f"The URL is longer than {LONGEST_URL} characters.")
    if not url.isprintable() or " " in url or "\\" in url:
        raise TargetRefused("The URL holds a space, a backslash or a control character.")
    parts = URL.fullmatch(url)
    if parts is None:
        raise TargetRefused("The URL must start with https:// and a host.")
    scheme, authority, path = parts[1].lower(), parts[2], parts[3]
    if scheme != "https" and private == NO_PRIVATE_TARGETS:
        raise TargetRefused(HTTPS_ONLY)
    if not path.isascii():
        raise TargetRefused("The path of the URL must be percent-encoded.")
    host, port = _authority(authority, DEFAULT_PORTS[scheme])
    if not (private.allows_host(host) or private.allows_address(host)):
        _check_host(scheme, host, private)
    return CheckedUrl(scheme, host, port, path if path.startswith("/") else "/" + path)


def is_public(address: str) -> bool:
    """False for what is not an IP address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return not any(ip in network for network in REFUSED_V6)
        ip = ip.ipv4_mapped
    return not any(ip in network for network in REFUSED_V4)


async def resolve(target: CheckedUrl, private: PrivateTargets, resolver: Resolver | None = None) -> list[Address]:
    """The addresses to dial, all of them checked. Raises TargetRefused, and OSError when there is none."""
    look_up = resolver or asyncio.get_running_loop().getaddrinfo
    answers = await look_up(target.host, target.port, type=socket.SOCK_STREAM)
    inet = (socket.AF_INET, socket.AF_INET6)
    addresses = [(family, sockaddr) for family, _, _, _, sockaddr in answers if family in inet]
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    if private.allows_host(target.host):
        return addresses
    ips = [str(sockaddr[0]) for _, sockaddr in addresses]
    if target.scheme != "https" and not all(map(private.allows_address, ips)):
        raise TargetRefused(HTTPS_ONLY)
    # One private address among public ones is how a rebinding answer looks; so one is enough to refuse all.
    if not all(is_public(ip) or private.allows_address(ip) for ip in ips):
        raise TargetRefused("The host resolves to an address that is not public.")
    return addresses


def _authority(text: str, default_port: int) -> tuple[str, int]:
    if "@" in text:
        raise TargetRefused("The URL must not hold credentials.")
    parts = AUTHORITY.fullmatch(text)
    if parts is None:
        raise TargetRefused("The host or port of the URL is not valid.")
    port = default_port if parts[3] is None else int(parts[3])
    if not 1 <= port <= 65535:
        raise TargetRefused("The port of the URL is not valid.")
    return (_ipv6(parts[1]) if parts[1] else _name_or_ipv4(parts[2])), port


def _ipv6(text: str) -> str:
    try:
        return IPv6Address(text).compressed
    except ValueError:
        raise TargetRefused("The IPv6 address in the URL is not valid.") from None


def _name_or_ipv4(text: str) -> str:
    """Judged after IDNA mapping, which turns full-width digits and dots into plain ones."""
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    except (UnicodeError, ValueError):
        raise TargetRefused("The host name in the URL is not valid.") from None
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise TargetRefused("The host name in the URL is not valid.")
    if NUMBER.fullmatch(labels[-1]):
        try:
            IPv4Address(name)
        except ValueError:
            raise TargetRefused("An IPv4 address in a URL must be four plain numbers.") from None
    return name


def _check_host(scheme: str, host: str, private: PrivateTargets) -> None:
    """Of a host that is not allowed by itself; what a private name resolves to may still be in an allowed network."""
    last = host.rpartition(".")[2]
    literal = ":" in host or NUMBER.fullmatch(last)
    private_name = not literal and (last in PRIVATE_NAMES or (last == host and bool(private.networks)))
    if private_name and not private.networks:
        raise TargetRefused("The host is a name of this machine or of a private network.")
    if literal and not is_public(host):
        raise TargetRefused("The address in the URL is not public.")
    if scheme != "https" and not private_name:
        raise TargetRefused(HTTPS_ONLY)
