import socket
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.core.targets import ALL_PRIVATE_TARGETS, NO_PRIVATE_TARGETS, PrivateTargets
from service.net.guard import CheckedUrl, Resolver, TargetRefused, check_url, is_public, resolve

PRIVATE_V4 = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254
168.63.129.16 169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1
192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
"""
PRIVATE_V6 = """
:: ::1 ::7f00:1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:8.8.8.8 64:ff9b::7f00:1
64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1
2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 3fff:fff:ffff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1
fe80::1%eth0 febf::1 fec0::1 ff02::1 ff0e::1
"""
PUBLIC = """
1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 198.20.0.1 223.255.255.255
::ffff:8.8.8.8 2001:200::1 2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001::1 3ffe::1
"""

ODD_LOOPBACKS = """
2130706433 0177.0.0.1 0x7f.1 0x7f000001 0X7F.0.0.1 127.1 127.0.1 127.0.0.1. 00000177.0.0.1 017700000001 0x7f.0x0.0x0.1
[::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:0:0:1] [::127.0.0.1] [fe80::1%25eth0] [fe80::1%eth0]
127.0.0.1%20 %31%32%37.0.0.1 1.2.3.4.5 256.1.1.1 0 0x localhost LOCALHOST localhost. a.localhost a.localhost.
metadata.google.internal printer.local local%68ost
"""
FULLWIDTH = {ord(c): ord(c) + 0xFEE0 for c in "0123456789abcdefghijklmnopqrstuvwxyz."}
UNICODE_LOOPBACKS = [
    "127.0.0.1".translate(FULLWIDTH),
    "localhost".translate(FULLWIDTH),
    "127\u30020\u30020\u30021",  # ideographic full stops
    "\u2460\u2461\u2466.0.0.1",  # circled digits
    "\u0661\u0662\u0667.0.0.1",  # Arabic-Indic digits
    "loc\u00adalhost",  # soft hyphen
    "\u24dbocalhost",  # circled l
]

MALFORMED = [
    "",
    "https://",
    "https:///path",
    "https:example.com",
    "https:/example.com",
    "//example.com",
    "ftp://example.com",
    "file:///etc/passwd",
    "http\u017f://example.com",
    "javascript:alert(1)",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:/",
    "https://example.com:-1/",
    "https://example.com:80:80/",
    "https://example.com:٤٤٣/",
    "https://[::1/",
    "https://::1/",
    "https://[]/",
    "https://[v1.fe]/",
    "https://exa mple.com/",
    " https://example.com/",
    "https://example.com/\n",
    "https://example.com/\r\nHost: x",
    "https://example.com/\x00",
    "https://example.com/\x7f",
    "https://example.com/a\\b",
    "https://exam\tple.com/",
    "https://example.com/a b",
    "https://example.com/\u2028",
    "https://example.com/\ud800",
    "https://example.com/ü",
    "https://exa..mple.com/",
    "https://.example.com/",
    "https://example.com../",
    "https://-example.com/",
    "https://example.com\uff0f@x/",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 127 + "com/",
    "https://example.com/" + "a" * 2048,
]


@pytest.mark.parametrize("address", [*PRIVATE_V4.split(), *PRIVATE_V6.split(), "", "localhost", "1.2.3", "01.2.3.4"])
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [*PRIVATE_V4.split(), *PRIVATE_V6.split()])
def test_a_private_address_in_a_url_is_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(TargetRefused):
        check_url(f"https://{host}:8443/x", NO_PRIVATE_TARGETS)


@pytest.mark.parametrize("host", [*ODD_LOOPBACKS.split(), *UNICODE_LOOPBACKS])
def test_an_odd_spelling_of_a_private_host_is_refused(host: str) -> None:
    with pytest.raises(TargetRefused):
        check_url(f"https://{host}/", NO_PRIVATE_TARGETS)


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("private", [NO_PRIVATE_TARGETS, ALL_PRIVATE_TARGETS])
def test_a_malformed_url_is_refused(url: str, private: PrivateTargets) -> None:
    with pytest.raises(TargetRefused):
        check_url(url, private)


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://example.com", CheckedUrl("https", "example.com", 443, "/"), "example.com"),
        ("HTTPS://Example.COM:443/A?b=C#d", CheckedUrl("https", "example.com", 443, "/A?b=C"), "example.com"),
        ("https://example.com?x=1", CheckedUrl("https", "example.com", 443, "/?x=1"), "example.com"),
        ("https://example.com.:8443/", CheckedUrl("https", "example.com", 8443, "/"), "example.com:8443"),
        ("https://bücher.example/", CheckedUrl("https", "xn--bcher-kva.example", 443, "/"), "xn--bcher-kva.example"),
        (
            "https://B\u00dcCHER.example/",
            CheckedUrl("https", "xn--bcher-kva.example", 443, "/"),
            "xn--bcher-kva.example",
        ),
        ("https://my_host.example/@", CheckedUrl("https", "my_host.example", 443, "/@"), "my_host.example"),
        ("https://8.8.8.8/", CheckedUrl("https", "8.8.8.8", 443, "/"), "8.8.8.8"),
        ("https://[2606:4700::1]:99/", CheckedUrl("https", "2606:4700::1", 99, "/"), "[2606:4700::1]:99"),
    ],
)
def test_a_good_url_is_parsed(url: str, target: CheckedUrl, authority: str) -> None:
    assert check_url(url, NO_PRIVATE_TARGETS) == target
    assert target.origin == f"https://{authority}"


def test_http_and_private_hosts_are_for_development_only() -> None:
    assert check_url("http://127.0.0.1:9000/hook", ALL_PRIVATE_TARGETS) == CheckedUrl(
        "http", "127.0.0.1", 9000, "/hook"
    )
    assert check_url("http://localhost/", ALL_PRIVATE_TARGETS).port == 80
    with pytest.raises(TargetRefused):
        check_url("http://example.com/", NO_PRIVATE_TARGETS)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "8.8.2056", "1.2.3.4.5"])
def test_an_odd_spelling_of_an_address_is_refused_even_in_development(host: str) -> None:
    with pytest.raises(TargetRefused, match="four plain numbers"):
        check_url(f"https://{host}/", ALL_PRIVATE_TARGETS)


def test_credentials_are_named_as_the_reason() -> None:
    with pytest.raises(TargetRefused, match=r"^The URL must not hold credentials\.$"):
        check_url("https://user:secret@example.com/", NO_PRIVATE_TARGETS)


def test_a_target_does_not_show_its_path() -> None:
    assert "token" not in repr(check_url("https://example.com/hook?token=1", NO_PRIVATE_TARGETS))


@given(
    st.one_of(st.text(), st.text().map(lambda text: f"https://{text}"), st.text().map(lambda t: f"https://[{t}]:1/"))
)
@example("https://xn--a/")
@example("https://" + "ü" * 2000)
def test_any_text_is_either_a_target_or_refused(text: str) -> None:
    try:
        target = check_url(text, NO_PRIVATE_TARGETS)
    except TargetRefused:
        return
    assert (target.host + target.path).isascii()
    assert target.path.startswith("/")
    assert check_url(target.origin + target.path, NO_PRIVATE_TARGETS) == target


def resolver(*addresses: str) -> Resolver:
    """Answers like getaddrinfo."""

    async def look_up(host: str, port: int, *, type: int) -> list[tuple[Any, Any, Any, Any, Any]]:
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in address], type, 6, "", (address, port)) for address in addresses]

    return look_up


TARGET = CheckedUrl("https", "example.com", 443, "/")


async def test_every_public_address_is_handed_on_for_dialling() -> None:
    addresses = await resolve(TARGET, NO_PRIVATE_TARGETS, resolver("8.8.8.8", "2606:4700::1"))
    assert addresses == [(socket.AF_INET, ("8.8.8.8", 443)), (socket.AF_INET6, ("2606:4700::1", 443))]


@pytest.mark.parametrize("private", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"])
async def test_one_private_address_among_public_ones_refuses_all(private: str) -> None:
    with pytest.raises(TargetRefused):
        await resolve(TARGET, NO_PRIVATE_TARGETS, resolver("8.8.8.8", private))


async def test_private_addresses_may_be_allowed() -> None:
    assert await resolve(TARGET, ALL_PRIVATE_TARGETS, resolver("127.0.0.1")) == [(socket.AF_INET, ("127.0.0.1", 443))]


async def test_an_answer_without_addresses_is_a_failed_lookup() -> None:
    with pytest.raises(OSError, match="no address"):
        await resolve(TARGET, NO_PRIVATE_TARGETS, resolver())


async def test_plain_http_is_refused_again_when_connecting() -> None:
    with pytest.raises(TargetRefused):
        await resolve(CheckedUrl("http", "example.com", 80, "/"), NO_PRIVATE_TARGETS, resolver("8.8.8.8"))


async def test_the_resolver_of_the_system_is_asked_by_default() -> None:
    with pytest.raises(TargetRefused):
        await resolve(CheckedUrl("https", "localhost", 443, "/"), NO_PRIVATE_TARGETS)


# --- private targets by name and network ---

SOME = PrivateTargets(hosts=frozenset({"n8n"}), networks=(IPv4Network("10.0.0.0/8"), IPv4Network("127.0.0.0/8")))


@pytest.mark.parametrize(
    "url",
    [
        "http://n8n/hook",
        "http://N8N.:5678/hook",
        "http://10.1.2.3/",
        "https://10.1.2.3:8443/",
        "http://127.0.0.1:3000/hook",
        "http://localhost:3000/hook",
        "http://worker/",
        "https://hooks.internal/",
        "https://example.com/",
    ],
)
def test_what_is_listed_may_be_private_and_without_tls(url: str) -> None:
    check_url(url, SOME)


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://192.168.1.1/", "https://192.168.1.1/", "https://[::1]/", "http://8.8.8.8/"]
)
def test_what_is_not_listed_is_refused_as_before(url: str) -> None:
    with pytest.raises(TargetRefused):
        check_url(url, SOME)


def test_with_names_alone_no_other_name_is_private() -> None:
    names = PrivateTargets(hosts=frozenset({"n8n"}))
    for url in ("http://localhost/", "https://localhost/", "http://worker/", "http://n8n.example.com/"):
        with pytest.raises(TargetRefused):
            check_url(url, names)


@pytest.mark.parametrize(
    ("url", "addresses", "allowed"),
    [
        ("http://n8n/", ["192.168.1.1"], True),
        ("http://worker/", ["10.1.2.3"], True),
        ("http://worker/", ["10.1.2.3", "8.8.8.8"], False),
        ("http://worker/", ["8.8.8.8"], False),
        ("https://example.com/", ["10.1.2.3"], True),
        ("https://example.com/", ["10.1.2.3", "8.8.8.8"], True),
        ("https://example.com/", ["192.168.1.1"], False),
        ("https://example.com/", ["8.8.8.8", "192.168.1.1"], False),
    ],
)
async def test_every_address_of_a_name_is_judged_by_the_list(url: str, addresses: list[str], allowed: bool) -> None:
    target = check_url(url, SOME)
    if allowed:
        assert await resolve(target, SOME, resolver(*addresses))
    else:
        with pytest.raises(TargetRefused):
            await resolve(target, SOME, resolver(*addresses))
