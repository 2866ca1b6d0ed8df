import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import uvloop

from service.core.targets import ALL_PRIVATE_TARGETS, NO_PRIVATE_TARGETS, PrivateTargets
from service.net import guard, http1
from service.net.connection import Response, Unreachable
from service.net.guard import CheckedUrl, Resolver, check_url
from service.net.http1 import Client, Head, head_of

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEADERS = [(b"Content-Type", b"application/json"), (b"webhook-id", b"evt_1")]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"


pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy. fixture:DeprecationWarning")


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Transports of the two loops differ; the client must work on both."""
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


class RawServer:
    """A server of raw bytes; counts connections and keeps the requests."""

    def __init__(self, handler: Handler) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.asked_on: list[asyncio.StreamReader] = []
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self._handler = handler

    async def start(self, tls: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def target(self, path: str = "/hook", scheme: str = "http", host: str = "127.0.0.1") -> CheckedUrl:
        return check_url(f"{scheme}://{host}:{self.port}{path}", ALL_PRIVATE_TARGETS)

    def head(self, path: str = "/", **where: str) -> Head:
        return head_of(self.target(path, **where), HEADERS)

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.gone.set()

    async def read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        self.requests.append(head + await reader.readexactly(length))
        self.asked_on.append(reader)
        self.asked.set()


Start = Callable[..., Awaitable[RawServer]]
Clients = Callable[..., Client]


@pytest.fixture
async def subscriber() -> AsyncIterator[Start]:
    started: list[RawServer] = []

    async def start(*answers: bytes, close: bool = False, tls: ssl.SSLContext | None = None) -> RawServer:
        """Answers the n-th request with the n-th answer, the last one for ever. `close`: after each answer."""

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await server.read(reader)
                writer.write(answers[min(len(server.requests), len(answers)) - 1])
                await writer.drain()
                if close:
                    return

        server = RawServer(handler)
        await server.start(tls)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
async def client() -> AsyncIterator[Clients]:
    made: list[Client] = []

    def make(*, private: PrivateTargets = ALL_PRIVATE_TARGETS, connect_timeout: float = 5.0, **options: Any) -> Client:
        made.append(Client(private=private, connect_timeout=connect_timeout, **options))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def failure(client: Client, target: CheckedUrl, timeout: float = 5.0) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        await client.post(head_of(target, HEADERS), b"", b"{}", timeout)
    return caught.value


# --- requests and answers ---


async def test_the_request_on_the_wire_is_the_one_requested(subscriber: Start, client: Clients) -> None:
    server = await subscriber(OK)
    answer = await client().post(server.head("/hook?token=1"), b"one: more\r\n", b'{"a":1}', 5)
    assert answer == Response(200, None, None, "ok")
    assert server.requests == [
        b"POST /hook?token=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nwebhook-id: evt_1\r\n"
        b'one: more\r\nContent-Length: 7\r\n\r\n{"a":1}' % server.port
    ]


async def test_a_large_body_arrives_whole(subscriber: Start, client: Clients) -> None:
    server = await subscriber(OK)
    body = b"x" * 5_000_000
    assert (await client().post(server.head(), b"", body, 10)).status == 200
    assert server.requests[0].endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("raw", "status", "text"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""),
        (b"HTTP/1.1 410 Gone\r\ncontent-length: 4\r\n\r\ngone", 410, "gone"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n",
            200,
            "abc",
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, 200, "ok"),
        (b"HTTP/1.1 500 \r\nContent-Length: 4\r\n\r\n\xff\x00\xc3\xa9", 500, "\ufffd\ufffdé"),
    ],
)
async def test_a_response_is_read_and_the_connection_kept(
    subscriber: Start, client: Clients, raw: bytes, status: int, text: str
) -> None:
    server, one = await subscriber(raw), client()
    for _ in range(3):
        assert await one.post(server.head(), b"", b"{}", 5) == Response(status, None, None, text)
    assert server.connections == 1


async def test_a_body_may_end_with_the_connection(subscriber: Start, client: Clients) -> None:
    server, one = await subscriber(b"HTTP/1.0 200 OK\r\n\r\nfine", close=True), client()
    assert (await one.post(server.head(), b"", b"{}", 5)).text == "fine"
    assert (await one.post(server.head(), b"", b"{}", 5)).text == "fine"
    assert server.connections == 2


@pytest.mark.parametrize("raw", [b"HTTP/1.1 204 x\r\nConnection: close\r\n\r\n", b"HTTP/1.0 204 x\r\n\r\n"])
async def test_a_connection_the_server_will_close_is_not_kept(subscriber: Start, client: Clients, raw: bytes) -> None:
    server, one = await subscriber(raw), client()
    for _ in range(2):
        assert (await one.post(server.head(), b"", b"{}", 5)).status == 204
    assert server.connections == 2


async def test_the_text_is_the_first_kibibyte(subscriber: Start, client: Clients) -> None:
    chunk = b"2bc\r\n" + b"x" * 700 + b"\r\n"
    server = await subscriber(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3 + b"0\r\n\r\n")
    assert (await client().post(server.head(), b"", b"{}", 5)).text == "x" * 1024


async def test_a_redirect_is_returned_and_not_followed(subscriber: Start, client: Clients) -> None:
    other = await subscriber(OK)
    location = f"http://127.0.0.1:{other.port}/"
    raw = f"HTTP/1.1 307 Go\r\nLocation: {location}\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    server = await subscriber(raw.encode())
    assert await client().post(server.head(), b"", b"{}", 5) == Response(307, "7", location, "")
    assert other.connections == 0


async def test_a_proxy_of_the_environment_is_ignored(
    subscriber: Start, client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = await subscriber(OK)
    assert (await client().post(server.head(), b"", b"{}", 5)).status == 200


async def test_cookies_are_not_sent_back(subscriber: Start, client: Clients) -> None:
    server, one = await subscriber(b"HTTP/1.1 204 x\r\nSet-Cookie: a=b\r\n\r\n"), client()
    for _ in range(2):
        await one.post(server.head(), b"", b"{}", 5)
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize(
    "header",
    [(b"X", b"1\r\nY: 2"), (b"X", b"1\n"), (b"X\r", b"1"), (b"X", b"\0"), (b"Host", b"x"), (b"content-length", b"9")],
)
async def test_a_header_that_could_change_the_request_is_not_sent(client: Clients, header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"header|Host"):
        await client().post(head_of(check_url("http://127.0.0.1:1/", ALL_PRIVATE_TARGETS), [header]), b"", b"{}", 5)


# --- answers that never end, or are none ---


@pytest.mark.parametrize("head", [ENDLESS, b"HTTP/1.1 200 OK\r\n\r\n"], ids=["length", "until close"])
async def test_a_huge_body_is_cut_and_the_connection_closed(subscriber: Start, client: Clients, head: bytes) -> None:
    server, one = await subscriber(head + b"x" * 3_000_000), client()
    for _ in range(2):
        assert await one.post(server.head(), b"", b"{}", 5) == Response(200, None, None, "x" * 1024)
    await asyncio.wait_for(server.gone.wait(), 5)
    assert server.connections == 2


@pytest.mark.parametrize(
    "flood", [b"X" * 2_000_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000], ids=["no line", "interim"]
)
async def test_a_flood_without_a_status_is_cut(subscriber: Start, client: Clients, flood: bytes) -> None:
    server = await subscriber(flood)
    assert (await failure(client(), server.target())).reason == "protocol"
    await asyncio.wait_for(server.gone.wait(), 5)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 20", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_response_without_a_status_times_out(subscriber: Start, client: Clients, raw: bytes) -> None:
    server = await subscriber(raw)
    assert (await failure(client(), server.target(), 0.5)).reason == "timeout"
    await asyncio.wait_for(server.gone.wait(), 5)


UNTIDY = {
    "lines end with LF": b"HTTP/1.1 200 OK\nRetry-After: 7\nContent-Length: 2\n\nok",
    "lines end with CR": b"HTTP/1.1 200 OK\rContent-Length: 2\r\rok",
    "Content-Length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "Content-Length twice, different": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length is no number": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "length is negative": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
    "length and identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    "a folded header": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n  more\r\nContent-Length: 2\r\n\r\nok",
    "a space before a colon": b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 2\r\n\r\nok",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\nok",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: nothing\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 2\r\n\r\nok",
    "no reason and no space": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "another version": b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a version without a point": b"HTTP/1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "two blanks": b"HTTP/1.1  200  OK\r\nContent-Length: 2\r\n\r\nok",
    "small letters": b"http/1.1 200 ok\r\nContent-Length: 2\r\n\r\nok",
    "a blank line first": b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "interim first": b"HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "latin-1 reason": b"HTTP/1.1 200 \xe4\r\nContent-Length: 2\r\n\r\nok",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an offer to upgrade": b"HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
    "the head stops": b"HTTP/1.1 200 OK\r\nX",
    "the status line stops": b"HTTP/1.1 200",
    "too short a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    "too long a body": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc",
    "chunks stop": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X-Header: value\r\n" * 100_000,
    "too long a header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000,
}


@pytest.mark.parametrize("close", [True, False], ids=["closed", "left open"])
@pytest.mark.parametrize("raw", UNTIDY.values(), ids=UNTIDY)
async def test_the_status_line_decides(subscriber: Start, client: Clients, raw: bytes, close: bool) -> None:
    server, one = await subscriber(raw, OK, close=close), client()
    assert (await one.post(server.head(), b"", b"{}", 0.3)).status == 200
    assert len(server.requests) == 1
    # And nothing of it is taken for the response to the next request.
    assert (await one.post(server.head(), b"", b"{}", 5)).text == "ok"


async def test_an_irregular_response_head_keeps_its_retry_after(subscriber: Start, client: Clients) -> None:
    server = await subscriber(b"HTTP/1.1 429 Slow\nRetry-After : 7\n\n")
    found = await client().post(server.head(), b"", b"{}", 0.3)
    assert (found.status, found.retry_after) == (429, "7")


async def test_a_reset_after_the_status_line_changes_nothing(client: Clients) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        server.requests.append(b"")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await writer.drain()
        # With bytes unread and no time to linger the kernel sends a reset.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = RawServer(reset)
    await server.start(None)
    for size in (10, 5_000_000):
        assert (await client().post(server.head(), b"", b"x" * size, 5)).status == 200
    assert len(server.requests) == 2
    server.stop()


async def test_a_response_may_come_before_the_request(client: Clients) -> None:
    async def canned(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await server.read(reader)

    server = RawServer(canned)
    await server.start(None)
    assert (await client().post(server.head(), b"", b"{}", 5)).status == 200
    await asyncio.wait_for(server.asked.wait(), 5)
    server.stop()


async def test_a_body_that_trickles_does_not_extend_the_time(client: Clients) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(ENDLESS)
        while not writer.is_closing():
            writer.write(b".")
            await asyncio.sleep(0.005)

    server = RawServer(drip)
    await server.start(None)
    async with asyncio.timeout(5):
        assert (await client().post(server.head(), b"", b"{}", 0.1)).status == 200
        await server.gone.wait()
    server.stop()


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_garbage_is_a_protocol_error(subscriber: Start, client: Clients, raw: bytes) -> None:
    server = await subscriber(raw)
    assert (await failure(client(), server.target())).reason == "protocol"


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 20", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"])
async def test_a_connection_closed_before_a_status_is_closed(subscriber: Start, client: Clients, raw: bytes) -> None:
    server = await subscriber(raw, close=True)
    assert (await failure(client(), server.target())).reason == "closed"
    assert len(server.requests) == 1


async def test_a_refused_connection_says_so_without_the_path(client: Clients) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = check_url(f"http://127.0.0.1:{unused.getsockname()[1]}/secret?token=secret", ALL_PRIVATE_TARGETS)
        error = await failure(client(), target)
    assert (error.reason, str(error)) == ("connect", "Connection refused.")


# --- connections kept ---


async def test_the_last_used_connection_is_used_first(subscriber: Start, client: Clients) -> None:
    server, one = await subscriber(OK), client()
    await asyncio.gather(*(one.post(server.head(), b"", b"{}", 5) for _ in range(4)))
    for _ in range(4):
        await one.post(server.head(), b"", b"{}", 5)
    assert server.connections == 4
    assert len(set(server.asked_on[4:])) == 1


async def test_no_more_connections_are_kept_than_allowed(subscriber: Start, client: Clients) -> None:
    server, one = await subscriber(OK), client(max_idle=2)
    for _ in range(2):
        await asyncio.gather(*(one.post(server.head(), b"", b"{}", 5) for _ in range(4)))
    assert server.connections == 6


async def test_an_idle_connection_closed_by_the_server_is_replaced(subscriber: Start, client: Clients) -> None:
    server, one = await subscriber(OK, close=True), client()
    for _ in range(3):
        assert (await one.post(server.head(), b"", b"{}", 5)).status == 200
        await asyncio.wait_for(server.gone.wait(), 5)
        server.gone.clear()
    assert server.connections == 3


async def test_a_kept_connection_that_dies_under_the_request_is_tried_once_more(client: Clients) -> None:
    async def one_answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(OK)
        await server.read(reader)

    server, one = RawServer(one_answer_each), client()
    await server.start(None)
    for _ in range(2):
        assert (await one.post(server.head(), b"", b"{}", 5)).status == 200
    assert (server.connections, len(server.requests)) == (2, 3)
    server.stop()


async def test_unsolicited_bytes_are_not_a_response_to_the_next_request(subscriber: Start, client: Clients) -> None:
    forged = b"HTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n"
    server, one = await subscriber(OK + forged, OK), client()
    for _ in range(2):
        assert (await one.post(server.head(), b"", b"{}", 5)).status == 200
    assert server.connections == 2


async def test_the_start_of_an_unsolicited_response_closes_an_idle_connection(client: Clients) -> None:
    answered = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        writer.write(OK)
        await answered.wait()
        writer.write(b"H")
        await reader.read()

    server, one = RawServer(handler), client()
    await server.start(None)
    assert (await one.post(server.head(), b"", b"{}", 5)).status == 200
    answered.set()
    await asyncio.wait_for(server.gone.wait(), 5)
    server.stop()


async def test_an_early_response_to_a_large_request_ends_the_connection(client: Clients) -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await server.gone.wait()

    server, one = RawServer(early), client()
    await server.start(None)
    for _ in range(2):
        assert (await one.post(server.head(), b"", b"x" * 20_000_000, 5)).status == 413
    assert server.connections == 2
    server.gone.set()
    server.stop()


@pytest.mark.parametrize("limit", ["IDLE_SECONDS", "LIFE_SECONDS"])
async def test_a_connection_is_not_used_past_its_time(
    subscriber: Start, client: Clients, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(http1, limit, 0.0)
    server, one = await subscriber(OK), client()
    for _ in range(2):
        await one.post(server.head(), b"", b"{}", 5)
    assert server.connections == 2


async def test_idle_connections_are_closed_in_time(
    subscriber: Start, client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "IDLE_SECONDS", 0.03)
    monkeypatch.setattr(http1, "SWEEP_SECONDS", 0.005)
    server = await subscriber(OK)
    await client().post(server.head(), b"", b"{}", 5)
    await asyncio.wait_for(server.gone.wait(), 5)


async def test_closing_ends_idle_and_busy_connections(subscriber: Start, client: Clients) -> None:
    server, one = await subscriber(OK, b""), client()
    await one.post(server.head(), b"", b"{}", 5)
    server.asked.clear()
    waiting = asyncio.create_task(failure(one, server.target()))
    await asyncio.wait_for(server.asked.wait(), 5)
    await one.aclose()
    assert (await waiting).reason == "closed"
    assert (await failure(one, server.target())).reason == "closed"


async def test_a_canceled_request_closes_its_connection(subscriber: Start, client: Clients) -> None:
    server, one = await subscriber(b""), client()
    task = asyncio.create_task(one.post(server.head(), b"", b"{}", 5))
    await asyncio.wait_for(server.asked.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.gone.wait(), 5)


# --- names and addresses ---


def resolver(*answers: list[str]) -> tuple[Resolver, list[str]]:
    """The n-th lookup gets the n-th answer, the last one for ever; the list fills with the names asked for."""
    asked: list[str] = []

    async def look_up(host: str, port: int, *, type: int) -> list[tuple[Any, Any, Any, Any, Any]]:
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, type, 6, "", (address, port)) for address in addresses]

    return look_up, asked


async def test_one_private_address_refuses_the_target(subscriber: Start, client: Clients) -> None:
    server = await subscriber(OK)
    look_up, _ = resolver(["8.8.8.8", "127.0.0.1"])
    one = client(private=NO_PRIVATE_TARGETS, resolver=look_up)
    assert (await failure(one, CheckedUrl("https", "mixed.example", server.port, "/"))).reason == "refused_target"
    assert server.connections == 0


async def test_the_address_that_was_judged_is_the_one_dialled(subscriber: Start, client: Clients) -> None:
    server = await subscriber(OK)
    look_up, asked = resolver(["127.0.0.1"])
    answer = await client(resolver=look_up).post(server.head(host="nowhere.invalid"), b"", b"{}", 5)
    assert (answer.status, asked) == (200, ["nowhere.invalid"])


async def test_a_refusing_address_is_followed_by_the_next(subscriber: Start, client: Clients) -> None:
    server = await subscriber(OK)
    look_up, _ = resolver(["127.0.0.2", "127.0.0.1"])
    assert (await client(resolver=look_up).post(server.head(host="two.example"), b"", b"{}", 5)).status == 200


async def test_a_silent_address_leaves_time_for_the_next(subscriber: Start, client: Clients) -> None:
    server = await subscriber(OK)
    look_up, _ = resolver(["127.0.0.2", "127.0.0.1"])
    one = client(resolver=look_up, connect_timeout=0.4)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.2", server.port))
        full.listen(0)
        for waiting in (first, second):  # with its queue full, the kernel answers no further connection
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        assert (await one.post(server.head(host="two.example"), b"", b"{}", 5)).status == 200


async def test_a_failed_lookup_says_so(client: Clients) -> None:
    look_up, _ = resolver([])
    error = await failure(
        client(resolver=look_up), check_url("https://missing.example/?token=secret", ALL_PRIVATE_TARGETS)
    )
    assert (error.reason, str(error)) == ("dns", "The host name has no address.")


async def test_callers_of_one_origin_share_a_slow_lookup_and_time_out(client: Clients) -> None:
    asked: list[str] = []

    async def hang(host: str, port: int, *, type: int) -> list[tuple[Any, Any, Any, Any, Any]]:
        asked.append(host)
        await asyncio.get_running_loop().create_future()
        return []

    one, target = client(resolver=hang, connect_timeout=0.05), check_url("https://slow.example/", ALL_PRIVATE_TARGETS)
    errors = await asyncio.gather(*(failure(one, target) for _ in range(3)), failure(one, target, 0.01))
    assert {error.reason for error in errors} == {"timeout"}
    assert asked == ["slow.example"]


# --- TLS ---


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-signed, for `sub.example` and 127.0.0.1; key and certificate in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    names = "subjectAltName=DNS:sub.example,IP:127.0.0.1"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=x",
        "-addext",
        names,
    ]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return both


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize("host", ["sub.example", "127.0.0.1"])
async def test_tls_with_the_right_name_works_and_is_kept(
    subscriber: Start, client: Clients, server_tls: ssl.SSLContext, trusting: ssl.SSLContext, host: str
) -> None:
    server = await subscriber(OK, tls=server_tls)
    one = client(ssl_context=trusting, resolver=resolver(["127.0.0.1"])[0])
    for _ in range(3):
        assert (await one.post(server.head(scheme="https", host=host), b"", b"{}", 5)).status == 200
    assert server.connections == 1


async def test_a_name_that_turns_private_is_refused_at_the_next_connection(
    subscriber: Start,
    client: Clients,
    server_tls: ssl.SSLContext,
    trusting: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 127.0.0.1 stands for a public address, so that nothing outside this machine is dialled.
    monkeypatch.setattr(guard, "REFUSED_V4", (IPv4Network("127.0.0.2/32"),))
    server = await subscriber(OK, close=True, tls=server_tls)
    look_up, asked = resolver(["127.0.0.1"], ["127.0.0.2"])
    one = client(private=NO_PRIVATE_TARGETS, resolver=look_up, ssl_context=trusting)
    target = server.target(scheme="https", host="sub.example")
    assert (await one.post(head_of(target, HEADERS), b"", b"{}", 5)).status == 200
    await asyncio.wait_for(server.gone.wait(), 5)
    assert (await failure(one, target)).reason == "refused_target"
    assert (len(asked), server.connections) == (2, 1)


async def test_a_name_mismatch_is_refused(
    subscriber: Start, client: Clients, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    server = await subscriber(OK, tls=server_tls)
    one = client(ssl_context=trusting, resolver=resolver(["127.0.0.1"])[0])
    error = await failure(one, server.target(scheme="https", host="other.example"))
    assert error.reason == "tls"
    assert "not valid for 'other.example'" in str(error)
    assert server.requests == []


async def test_a_self_signed_certificate_is_refused(
    subscriber: Start, client: Clients, server_tls: ssl.SSLContext
) -> None:
    server = await subscriber(OK, tls=server_tls)
    error = await failure(client(), server.target(scheme="https"))
    assert (error.reason, str(error)) == ("tls", "The certificate is not accepted: self-signed certificate.")
    assert server.requests == []


async def test_a_server_that_speaks_no_tls_is_a_tls_error(client: Clients) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(OK)

    server = RawServer(plain)
    await server.start(None)
    assert (await failure(client(), server.target(scheme="https"))).reason == "tls"
    server.stop()


async def test_a_tls_handshake_that_hangs_times_out(client: Clients) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = RawServer(silent)
    await server.start(None)
    assert (await failure(client(connect_timeout=0.05), server.target(scheme="https"))).reason == "timeout"
    await asyncio.wait_for(server.gone.wait(), 5)
    server.stop()
