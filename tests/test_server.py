"""The HTTP server: what a peer may send, how slowly it may read, and how many files connections may take."""

import asyncio
import inspect
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httptools
import orjson
import pytest
from uvicorn.protocols.http import httptools_impl

from service.core.throttled_warning import ThrottledWarning
from service.server import KEEP_ALIVE_SECONDS
from service.serving import protocol, slow_peers
from service.serving.admission import Access, Admission
from tests.conftest import TXT2IMG, Service, txt2img

PATIENCE = 20


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(service.url.rpartition(":")[2]))
    try:
        async with asyncio.timeout(PATIENCE):
            yield reader, writer
    finally:
        writer.close()


async def response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one response with a length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n",
]


@pytest.mark.parametrize("offer", OFFERS, ids=["h2c", "websocket"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_an_offered_upgrade_is_declined_and_the_request_served_with_its_body(
    service: Service, offer: bytes, chunked: bool
) -> None:
    body = orjson.dumps(TXT2IMG)
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: alice-key\r\n%b%b\r\n\r\n" % (offer, framing)
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n%b\r\n" % offer
    async with connected(service) as (reader, writer):
        # In pieces and together, with another request behind each on the same connection.
        for pieces in ([head, framed[:10], framed[10:]], [head + framed], [head + framed + get, b""]):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            assert (await response(reader))[0] == 202
        assert (await response(reader))[0] == 200
        writer.write(get + get)
        assert [(await response(reader))[0], (await response(reader))[0]] == [200, 200]


async def test_an_offered_upgrade_is_declined_at_the_callback_doors(service: Service) -> None:
    task = await service.submit(txt2img("hold=gate"))
    stored = await service.bridge.store.tasks.get(task["id"])
    assert stored is not None
    callback = service.bridge.submitting.submitter.callbacks.of(stored)
    body = orjson.dumps({"data": {"task_id": "x-1", "status": "processing"}})
    async with connected(service) as (reader, writer):
        writer.write(
            b"POST %b HTTP/1.1\r\nHost: x\r\nx-webhook-secret: %b\r\nContent-Length: %d\r\n%b\r\n%b"
            % (callback.url.removeprefix(service.url).encode(), callback.secret.encode(), len(body), OFFERS[0], body)
        )
        status, _, _ = await response(reader)
    assert status in (200, 409)


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_accepted_callback_is_answered_with_a_dated_response_without_a_body(
    service: Service, version: bytes, more: bytes
) -> None:
    task = await service.submit(txt2img("hold=gate"))
    await service.event(task["id"], "task.submitted")
    # Every second in a server that serves; it sets the date.
    await service.server.on_tick(0)
    stored = await service.bridge.store.tasks.get(task["id"])
    assert stored is not None
    callback = service.bridge.submitting.submitter.callbacks.of(stored)
    body = orjson.dumps({"data": {"task_id": stored.provider_task_id, "status": "processing"}})
    request = b"POST %b HTTP/%b\r\nHost: x\r\nx-webhook-secret: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
        callback.url.removeprefix(service.url).encode(),
        version,
        callback.secret.encode(),
        len(body),
        more,
        body,
    )
    kept = version == b"1.1" and not more
    async with connected(service) as (reader, writer):
        # The second and the third at once.
        for sent in (request, request * 2, b"") if kept else (request,):
            writer.write(sent)
            status, headers, _ = await response(reader)
            assert status == 200
            assert headers["content-length"] == "0"
            assert "date" in headers
            assert ("connection" not in headers) is kept
        if not kept:
            assert await reader.read() == b""


@pytest.mark.parametrize(
    "endless",
    [
        (b"GET /healthz HTTP/1.1\r\n", b"X-A: b\r\n" * 1000),
        (b"GET /healthz HTTP/1.1\r\nX-A: ", b"a" * 8000),
        (b"GET /", b"a" * 8000),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n" * 1000),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"a" * 8000),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=", b"a" * 8000),
    ],
    ids=["headers", "header", "target", "trailers", "trailer", "chunk extension"],
)
async def test_a_head_trailers_or_an_extension_without_end_end_the_connection(
    service: Service, endless: tuple[bytes, bytes]
) -> None:
    start, more = endless
    async with connected(service) as (_, writer):
        writer.write(start)
        sent = 0
        # What is counted is 64 KiB; the rest is on its way then.
        with suppress(ConnectionError):
            while sent < 20_000_000:
                writer.write(more)
                await writer.drain()
                sent += len(more)
                await asyncio.sleep(0)
        assert sent < 20_000_000


async def test_trailers_are_read_over(service: Service) -> None:
    body = orjson.dumps(TXT2IMG)
    async with connected(service) as (reader, writer):
        for _ in range(2):
            writer.write(
                b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: alice-key\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"%x\r\n%b\r\n0\r\nX-Checksum: 1\r\nX-API-Key: nobody\r\n\r\n" % (len(body), body)
            )
            assert (await response(reader))[0] == 202


async def test_too_many_pipelined_requests_end_the_connection(service: Service) -> None:
    async with connected(service) as (reader, writer):
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
        received = 0
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while received < 5000:
                await response(reader)
                received += 1
        assert received < 5000


async def test_an_http_1_0_response_without_a_length_comes_raw_until_the_close(service: Service) -> None:
    task = await service.finished(txt2img())
    async with connected(service) as (reader, writer):
        writer.write(
            b"GET /v1/tasks/%b/events HTTP/1.0\r\nX-API-Key: alice-key\r\n\r\n" % task["id"].encode(),
        )
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body.startswith(b":")
    assert body.count(b"\nevent: ") == 4
    async with connected(service) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert orjson.loads(body)["status"] == "ok"


async def test_garbage_is_400_and_a_counted_line_now_and_then(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "GARBAGE", ThrottledWarning(protocol.log, "%d requests were no HTTP"))
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            async with connected(service) as (reader, writer):
                writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
                status, headers, body = await response(reader)
                assert (status, headers["content-type"]) == (400, "application/problem+json")
                assert orjson.loads(body)["code"] == "invalid_request"
    assert [record.getMessage() for record in caplog.records] == ["1 requests were no HTTP"]


def silent_connection(service: Service, request: bytes) -> socket.socket:
    """Sends, and never reads."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    peer.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
    peer.sendall(request)
    return peer


async def test_peers_that_stop_reading_are_disconnected(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_peers, "STUCK_SECONDS", 0.2)
    monkeypatch.setattr(slow_peers, "TICK", 0.05)
    # The task of the server has its first, long tick before it; this one sees the short ones.
    connections: Any = service.server.server_state.connections
    watching = asyncio.create_task(slow_peers.watch(connections, 1000))
    peers = [
        silent_connection(service, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 90),
        silent_connection(service, b"GET /schemas/api/task.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" * 90),
    ]
    async with connected(service) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await response(reader))[0] == 200
        async with asyncio.timeout(PATIENCE):
            while len(connections) > 1:
                await asyncio.sleep(0.05)
        # A peer that reads, and only waits, stays.
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await response(reader))[0] == 200
    for peer in peers:
        peer.close()
    watching.cancel()


class Line:
    """A connection with so many bytes unsent."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.unsent = 0
        self.stuck_since = 0.0
        self.aborted = False
        self.transport = self

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.aborted = True

    def on_tick(self) -> None: ...


def line(size: int) -> Any:
    return Line(size)


def test_above_the_total_those_stuck_longest_go_first() -> None:
    first, second = line(20_000_000), line(20_000_000)
    slow_peers.disconnect_stuck([first], 1.0, 20)
    slow_peers.disconnect_stuck([first, second], 2.0, 20)
    assert (first.aborted, second.aborted) == (True, False)


def test_a_peer_that_reads_slowly_stays() -> None:
    one = line(1_000_000)
    for second in range(100):
        slow_peers.disconnect_stuck([one], float(second), 20)
        one.size -= 1000
    assert not one.aborted


def test_idle_connections_outlive_those_of_the_routers_in_front() -> None:
    assert KEEP_ALIVE_SECONDS > 90


async def test_when_files_are_short_callbacks_and_health_checks_still_answer(service: Service) -> None:
    protocol_class: Any = service.server.config.http_protocol_class
    protocol_class.admission = Admission(20)
    async with AsyncExitStack() as held:
        for _ in range(10):
            await held.enter_async_context(connected(service))
        async with connected(service) as (reader, writer):
            writer.write(b"GET /v1/tasks HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = await response(reader)
            assert (status, headers["connection"], orjson.loads(body)["code"]) == (503, "close", "unavailable")
        for line, wanted in ((b"GET /healthz", 200), (b"POST /webhooks/piapi/x", 404)):
            async with connected(service) as (reader, writer):
                writer.write(line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                assert (await response(reader))[0] == wanted


def test_connections_never_take_the_files_of_the_rest() -> None:
    admission = Admission(100)
    assert [admission.access(n) for n in (50, 51, 60, 61)] == [
        Access.ALL,
        Access.ESSENTIAL,
        Access.ESSENTIAL,
        Access.NONE,
    ]


def test_uvicorn_is_as_the_protocol_expects_it() -> None:
    """Private names that are relied on; when one of these fails, look at `serving/protocol.py`."""
    source = inspect.getsource(httptools_impl)
    upgrade = inspect.getsource(httptools_impl.HttpToolsProtocol.data_received)
    assert "self.headers.append((name, value))" in source
    assert '"headers": self.headers' in source
    assert "self.cycle.body += body" in source
    assert "self.pipeline.appendleft" in source
    assert "HttpParserUpgrade" in upgrade
    cycle = inspect.getsource(httptools_impl.RequestResponseCycle.send)
    assert "if self.chunked_encoding is None" in cycle
    assert "num_bytes > self.expected_content_length" in cycle
    assert "headers = self.default_headers + list" in cycle
    end = ["self.response_complete = True", "self.message_event.set()", "self.transport.close()", "self.on_response()"]
    assert [line.strip() for line in cycle.splitlines() if line.strip() in end] == end
    assert hasattr(httptools.HttpRequestParser, "set_dangerous_leniencies")
