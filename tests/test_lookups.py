"""Name lookups: a server that never answers holds up nobody else."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from service.net.lookups import Lookups


class Silence(asyncio.DatagramProtocol):
    """A name server that answers nothing."""

    def __init__(self) -> None:
        self.questions = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.questions += 1


@pytest.fixture
async def silence() -> AsyncIterator[tuple[Silence, int]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Silence, local_addr=("127.0.0.1", 0))
    yield server, transport.get_extra_info("sockname")[1]
    transport.close()


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", "127.0.0.1")])
async def test_addresses_and_names_of_this_machine_need_no_server(
    silence: tuple[Silence, int], host: str, address: str
) -> None:
    lookups = Lookups(["127.0.0.1"], silence[1])
    found = await lookups(host, 443, type=socket.SOCK_STREAM)
    assert address in [sockaddr[0] for *_, sockaddr in found]
    assert all(sockaddr[1] == 443 for *_, sockaddr in found)
    await lookups.close()


async def test_four_hundred_names_that_hang_hold_up_nobody(silence: tuple[Silence, int]) -> None:
    server, port = silence
    lookups = Lookups(["127.0.0.1"], port)
    hanging = [asyncio.create_task(lookups(f"name{n}.example.com", 443, type=socket.SOCK_STREAM)) for n in range(400)]
    while not server.questions:
        await asyncio.sleep(0.01)
    started = time.monotonic()
    assert await lookups("localhost", 443, type=socket.SOCK_STREAM)
    assert time.monotonic() - started < 1
    for one in hanging:
        one.cancel()
    ended = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(one, (OSError, asyncio.CancelledError)) for one in ended)
    await lookups.close()


async def test_a_lookup_has_an_end(silence: tuple[Silence, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.net.lookups.TIMEOUT", 0.1)
    lookups = Lookups(["127.0.0.1"], silence[1])
    with pytest.raises(socket.gaierror):
        await asyncio.wait_for(lookups("name.example.com", 443, type=socket.SOCK_STREAM), 10)
    await lookups.close()
