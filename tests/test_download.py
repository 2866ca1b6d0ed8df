"""Downloads of result files from servers that behave as strangers' servers do."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.core.targets import ALL_PRIVATE_TARGETS, NO_PRIVATE_TARGETS
from service.files.download import FileDownloader, Limits
from service.ports.copies import DownloadFailed

FILE = bytes(range(256)) * 800
LIMITS = Limits(max_bytes=1_000_000, connect=5.0, silence=5.0, window=0.2, slowest=1000, whole=20.0)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"


@dataclass
class FileServer:
    """Answers each path with the bytes that `pages` has for it, or lets a coroutine write them."""

    url: str = ""
    pages: dict[str, bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            page = self.pages[request.split(b" ")[1].decode()]
            if callable(page):
                await page(writer)
            else:
                writer.write(page)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    one = FileServer()
    listening = await asyncio.start_server(one.answer, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield one


def downloader(limits: Limits = LIMITS, **changes: Any) -> FileDownloader:
    options: dict[str, Any] = {"private": ALL_PRIVATE_TARGETS, "agent": "Callbridge/test"} | changes
    return FileDownloader(limits, **options)


async def fetch(url: str, one: FileDownloader | None = None) -> bytes:
    async with (one or downloader()).open(url) as download:
        return b"".join([chunk async for chunk in download.chunks()])


def whole(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body) + end


def redirect(where: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()


WHOLE = {
    "with a length": whole(FILE),
    "in chunks": chunked(FILE),
    "until the connection ends": HEAD + b"\r\n" + FILE,
    "as gzip": whole(gzip.compress(FILE), b"Content-Encoding: gzip"),
    "as two gzip members": whole(gzip.compress(FILE[:9]) + gzip.compress(FILE[9:]), b"Content-Encoding: gzip"),
    "as deflate": whole(zlib.compress(FILE), b"Content-Encoding: deflate"),
    "longer than its length": whole(FILE) + b"what nobody announced",
    "as a range that is everything": whole(FILE, b"Content-Range: bytes 0-%d/%d" % (len(FILE) - 1, len(FILE))).replace(
        b"200 OK", b"206 Partial Content"
    ),
}
CUT = "The response was cut off, or is not HTTP/1.1."
FAILING = {
    "cut before its length": (whole(FILE)[:-1], CUT),
    "cut in a chunk": (chunked(FILE)[:-99], CUT),
    "without the last chunk": (chunked(FILE, end=b""), CUT),
    "cut in gzip": (
        whole(gzip.compress(FILE)[:-9], b"Content-Encoding: gzip"),
        "The response was cut off.",
    ),
    "no gzip at all": (whole(FILE, b"Content-Encoding: gzip"), "The response cannot be decompressed."),
    "in an unknown encoding": (
        whole(FILE, b"Content-Encoding: br"),
        "The response has an unsupported encoding.",
    ),
    "a part": (
        whole(FILE, b"Content-Range: bytes 0-9/%d" % len(FILE)).replace(b"200 OK", b"206 Partial Content"),
        "The response holds only a part of the file.",
    ),
    "unavailable": (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "The server responded with status 503."),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", CUT),
    "nothing": (b"", CUT),
}
HOPELESS = {
    "gone (404)": (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "The provider no longer has the file (status 404).",
    ),
    "gone (410)": (
        b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
        "The provider no longer has the file (status 410).",
    ),
    "10 GB by its length": (
        HEAD + b"Content-Length: 10737418240\r\n\r\n" + FILE,
        "The file is larger than MAX_RESULT_BYTES (1000000).",
    ),
    "larger than allowed, without a length": (
        HEAD + b"\r\n" + bytes(1_000_001),
        "The file is larger than MAX_RESULT_BYTES (1000000).",
    ),
    "larger than allowed once unpacked": (
        whole(gzip.compress(bytes(1_000_001)), b"Content-Encoding: gzip"),
        "The file is larger than MAX_RESULT_BYTES (1000000).",
    ),
    "a redirect to another scheme": (
        redirect("ftp://127.0.0.1/0.png"),
        "The address is refused: The URL must start with https:// and a host.",
    ),
}


@pytest.mark.parametrize("response", WHOLE.values(), ids=WHOLE)
async def test_a_whole_file_is_decoded(server: FileServer, response: bytes) -> None:
    server.pages["/0.png"] = response
    assert await fetch(f"{server.url}/0.png") == FILE


@pytest.mark.parametrize(("response", "sentence"), FAILING.values(), ids=FAILING)
async def test_what_is_not_whole_fails_for_now(server: FileServer, response: bytes, sentence: str) -> None:
    server.pages["/0.png"] = response
    with pytest.raises(DownloadFailed) as failed:
        await fetch(f"{server.url}/0.png")
    assert (str(failed.value), failed.value.final) == (sentence, False)


@pytest.mark.parametrize(("response", "sentence"), HOPELESS.values(), ids=HOPELESS)
async def test_what_will_never_come_fails_for_good(server: FileServer, response: bytes, sentence: str) -> None:
    server.pages["/0.png"] = response
    with pytest.raises(DownloadFailed) as failed:
        await fetch(f"{server.url}/0.png")
    assert (str(failed.value), failed.value.final) == (sentence, True)


async def test_a_request_carries_no_credentials(server: FileServer) -> None:
    server.pages["/a%20cat.png?sig=x%2By"] = whole(FILE)
    await fetch(f"{server.url}/a cat.png?sig=x%2By")
    assert server.requests == [
        b"GET /a%20cat.png?sig=x%2By HTTP/1.1\r\nHost: "
        + server.url.removeprefix("http://").encode()
        + b"\r\nUser-Agent: Callbridge/test\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\r\n"
    ]


async def test_three_redirects_are_followed(server: FileServer) -> None:
    server.pages |= {f"/{n}": redirect(f"/{n + 1}") for n in range(3)} | {"/3": whole(FILE)}
    assert await fetch(f"{server.url}/0") == FILE


async def test_a_fourth_redirect_is_not(server: FileServer) -> None:
    server.pages |= {f"/{n}": redirect(f"/{n + 1}") for n in range(4)} | {"/4": whole(FILE)}
    with pytest.raises(DownloadFailed, match="redirects more than 3 times") as failed:
        await fetch(f"{server.url}/0")
    assert failed.value.final
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/0.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/0.png",
        "https://localhost/0.png",
        "http://example.com/0.png",
        "https://user:secret@example.com/0.png",
    ],
)
async def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(DownloadFailed, match="The address is refused") as failed:
        await fetch(url, downloader(private=NO_PRIVATE_TARGETS))
    assert failed.value.final


async def test_a_name_that_resolves_to_a_private_address_is_refused(server: FileServer) -> None:
    async def resolver(host: str, port: int, *, type: int) -> list[Any]:
        return [(2, 1, 6, "", ("10.1.2.3", port))]

    with pytest.raises(DownloadFailed, match="resolves to an address that is not public") as failed:
        await fetch("https://example.com/0.png", downloader(private=NO_PRIVATE_TARGETS, resolver=resolver))
    assert failed.value.final


async def test_a_name_without_an_address_fails_for_now() -> None:
    async def resolver(host: str, port: int, *, type: int) -> list[Any]:
        raise OSError

    with pytest.raises(DownloadFailed, match="has no address") as failed:
        await fetch("https://example.com/0.png", downloader(private=NO_PRIVATE_TARGETS, resolver=resolver))
    assert not failed.value.final


@asynccontextmanager
async def dripping(server: FileServer, head: bytes) -> AsyncIterator[str]:
    """An address whose response comes byte by byte until the reader leaves."""
    left = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            left.set()

    server.pages["/0.png"] = drip
    yield f"{server.url}/0.png"
    async with asyncio.timeout(20):
        await left.wait()


async def test_a_body_that_drips_is_given_up(server: FileServer) -> None:
    async with dripping(server, HEAD + b"Content-Length: 1000\r\n\r\n") as url:
        with pytest.raises(DownloadFailed, match="The download is too slow") as failed:
            await fetch(url)
        assert not failed.value.final


async def test_a_head_that_drips_is_given_up(server: FileServer) -> None:
    impatient = downloader(Limits(max_bytes=1_000_000, connect=0.1, silence=0.2))
    async with dripping(server, b"HTTP/1.1 200 OK\r\nX-Slow: ") as url:
        with pytest.raises(DownloadFailed, match="did not respond in time"):
            await fetch(url, impatient)


async def test_a_silent_server_is_given_up(server: FileServer) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        await asyncio.sleep(2)

    server.pages["/0.png"] = silence
    with pytest.raises(DownloadFailed, match="did not respond in time"):
        await fetch(f"{server.url}/0.png", downloader(Limits(max_bytes=1_000_000, silence=0.1)))


async def test_a_slow_reader_is_not_mistaken_for_a_slow_sender(server: FileServer) -> None:
    server.pages["/0.png"] = whole(FILE)
    async with downloader(Limits(max_bytes=1_000_000, window=0.05, slowest=len(FILE) + 1)).open(
        f"{server.url}/0.png"
    ) as download:
        size = 0
        async for chunk in download.chunks():
            size += len(chunk)
            await asyncio.sleep(0.06)
    assert size == len(FILE)
