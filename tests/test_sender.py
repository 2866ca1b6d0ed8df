"""The HTTP client for provider calls: which failures are sure, and nothing is waited for without end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from service.core.result import Failure, Output
from service.core.task import Status, Task
from service.core.update import Update, updated
from service.net import provider_http as http
from service.net.provider_http import HttpSender
from service.ports.providers import ProviderRequest, SubmitNotSent, SubmitUnclear
from service.tools.harness.ports import free_port


@asynccontextmanager
async def answering(*pieces: bytes, pause: float = 0.0) -> AsyncIterator[str]:
    """A server that reads a little and writes `pieces`, then closes."""
    answers: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.add(asyncio.create_task(answer(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret-path"
        for one in answers:
            one.cancel()
        await asyncio.gather(*answers, return_exceptions=True)


async def send(url: str) -> int:
    sender = HttpSender()
    try:
        return (await sender.send(ProviderRequest("POST", url, {"authorization": "a-key"}, b"{}"))).status
    finally:
        await sender.close()


async def test_a_refused_connection_is_surely_not_sent() -> None:
    with pytest.raises(SubmitNotSent):
        await send(f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize(
    "pieces", [[], [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"], [b"no http at all\r\n\r\n"]]
)
async def test_a_line_that_breaks_after_sending_is_unclear_and_its_text_holds_no_address(pieces: list[bytes]) -> None:
    async with answering(*pieces) as url:
        with pytest.raises(SubmitUnclear) as error:
            await send(url)
    assert "secret-path" not in str(error.value)


async def test_a_trickling_response_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WHOLE", 0.2)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with answering(head, *[b"."] * 500, pause=0.02) as url:
        with pytest.raises(SubmitUnclear):
            await send(url)


async def test_an_oversized_response_is_unclear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1000)
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 5000) as url:
        with pytest.raises(SubmitUnclear, match="larger"):
            await send(url)


async def test_a_connection_counts_as_being_opened_only_until_the_request_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one such place, two requests are at the provider at once; neither is answered before both are there."""
    monkeypatch.setattr(http, "OPENING", 1)
    both = asyncio.Barrier(2)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        await both.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sender = HttpSender()
    request = ProviderRequest("POST", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}, b"{}")
    async with server, asyncio.timeout(20):
        replies = await asyncio.gather(sender.send(request), sender.send(request))
    await sender.close()
    assert [reply.status for reply in replies] == [200, 200]


async def test_a_place_for_opening_is_free_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "OPENING", 1)
    sender = HttpSender()
    request = ProviderRequest("POST", f"http://127.0.0.1:{free_port()}/", {}, b"{}")
    async with asyncio.timeout(20):
        for _ in range(3):
            with pytest.raises(SubmitNotSent):
                await sender.send(request)
            with pytest.raises(SubmitNotSent):
                await sender.open(request)
    await sender.close()


def test_a_cancel_of_ours_gives_way_to_a_result_and_not_to_a_failure() -> None:
    task = Task(
        "tsk_1", "alice", "piapi", "m", "t", {}, 1, 1, status=Status.CANCELED, finished_by_us=True, finished_at=2
    )
    assert updated(task, Update(Status.FAILED, error=Failure("x", "x")), 3) is None
    result = updated(task, Update(Status.COMPLETED, output=Output()), 3)
    assert result is not None
    assert result.status is Status.COMPLETED
