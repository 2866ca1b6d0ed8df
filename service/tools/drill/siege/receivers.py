"""Attacks by receivers: they hang, fail, cannot be looked up, or are many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from service.tools.drill.siege.attack import Attack
from service.tools.drill.siege.target import IMG, SiegeTarget

PRIVATE = {"ALLOW_PRIVATE_TARGETS": "true", "DELIVERY_TIMEOUT": "5"}


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """The address of a receiver that reads and never answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def subscribe(target: SiegeTarget, addresses: list[str], **fields: Any) -> list[str]:
    ids = []
    for address in addresses:
        body = {"url": address, "events": ["task.queued"], **fields}
        response = await target.client.post("/v1/subscriptions", json=body, headers=target.key("careless"))
        assert response.status_code == 201, response.text[:200]
        ids.append(response.json()["id"])
    return ids


async def subscribers_that_hang(target: SiegeTarget) -> None:
    """A thousand subscribers, nine of ten hang or refuse, and tasks that tell all of them."""
    async with hanging() as address:
        await subscribe(target, [f"{address if n % 3 else 'http://127.0.0.1:9'}/{n}" for n in range(1000)])
        for _ in range(10):
            await target.submit()
        await asyncio.sleep(8)


async def pings_that_hang(target: SiegeTarget) -> None:
    """150 subscriptions and 700 pings to an address that hangs."""
    async with hanging() as address:
        ids = await subscribe(target, [f"{address}/{n}" for n in range(150)])

        async def ping(n: int) -> int:
            path = f"/v1/subscriptions/{ids[n % len(ids)]}/ping"
            return (await target.client.post(path, headers=target.key("careless"))).status_code

        for _ in range(3):
            await target.submit()
        statuses = await asyncio.gather(*(ping(n) for n in range(700)))
        assert set(statuses) <= {200, 429}, set(statuses)


async def names_that_never_answer(target: SiegeTarget) -> None:
    """400 subscriptions whose names have no server that answers."""
    await subscribe(target, [f"https://name{n}.example.com/hook" for n in range(400)])
    for _ in range(5):
        await target.submit()
    await asyncio.sleep(8)


async def callbacks_that_hang(target: SiegeTarget) -> None:
    """Thousands of callback addresses on one host that hangs."""
    async with hanging() as address:
        gate = asyncio.Semaphore(8)

        async def submit(n: int) -> None:
            body = {**IMG, "input": {"prompt": "a cat [sandbox: hold=gate]"}, "callback_events": ["task.queued"]}
            async with gate:
                await target.client.post(
                    "/v1/tasks", json=body | {"callback_url": f"{address}/{n}"}, headers=target.key("careless")
                )

        await asyncio.gather(*(submit(n) for n in range(3000)))


async def many_replays(target: SiegeTarget) -> None:
    """Twenty replays of all that there is, to receivers that hang."""
    for _ in range(300):
        await target.submit()
    async with hanging() as address:
        for name in await subscribe(target, [f"{address}/{n}" for n in range(20)]):
            path = f"/v1/subscriptions/{name}/replay"
            first = await target.client.post(path, json={"after": 0}, headers=target.key("careless"))
            assert first.status_code == 202, first.text[:200]
            again = await target.client.post(path, json={"after": 0}, headers=target.key("careless"))
            assert again.status_code == 409, again.text[:200]
        await asyncio.sleep(5)


ATTACKS = (
    Attack("1,000 subscribers, most of them hang or refuse", subscribers_that_hang, settings=PRIVATE),
    Attack("700 pings to subscribers that hang", pings_that_hang, settings=PRIVATE, files=1024),
    Attack("400 subscribers whose names never resolve", names_that_never_answer),
    Attack("3,000 callback addresses on a host that hangs", callbacks_that_hang, settings=PRIVATE),
    Attack("20 replays to subscribers that hang", many_replays, settings=PRIVATE),
)
