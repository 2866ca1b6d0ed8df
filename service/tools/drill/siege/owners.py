"""Attacks with the key of one careless owner."""

import asyncio
from contextlib import ExitStack, suppress

import orjson

from service.tools.drill.siege.attack import Attack
from service.tools.drill.siege.target import IMG, SiegeTarget

# A little less than the largest body.
MEGABYTE = 1_000_000
STREAM = "Accept: text/event-stream"


async def large_tasks(target: SiegeTarget, count: int) -> None:
    gate = asyncio.Semaphore(4)

    async def submit() -> None:
        async with gate:
            response = await target.submit(pad=MEGABYTE)
            assert response.status_code == 202, response.text[:200]

    await asyncio.gather(*(submit() for _ in range(count)))


async def two_hundred_large_tasks(target: SiegeTarget) -> None:
    await large_tasks(target, 200)


async def one_hundred_large_tasks(target: SiegeTarget) -> None:
    await large_tasks(target, 100)


async def unread(target: SiegeTarget, requests: list[bytes], seconds: float = 5.0) -> None:
    """So many connections that read nothing."""
    with ExitStack() as held:
        for request in requests:
            held.enter_context(target.silent(request))
            await asyncio.sleep(0)
        await asyncio.sleep(seconds)


async def unread_lists(target: SiegeTarget) -> None:
    await unread(target, [target.request("GET /v1/tasks?limit=200", "careless")] * 10)
    page = (await target.client.get("/v1/tasks?limit=200", headers=target.key("careless"))).json()
    assert page["data"]
    assert page["next_cursor"], "a page ends by its bytes, with a cursor"


async def unread_tasks(target: SiegeTarget) -> None:
    listed = (await target.client.get("/v1/tasks?limit=1", headers=target.key("careless"))).json()
    await unread(target, [target.request(f"GET /v1/tasks/{listed['data'][0]['id']}", "careless")] * 300)


async def waits_of_clients_that_left(target: SiegeTarget) -> None:
    body = orjson.dumps({**IMG, "input": {"prompt": "a cat [sandbox: hold=gate]"}, "metadata": {"pad": "x" * MEGABYTE}})
    head = target.request("POST /v1/tasks", "careless", "Prefer: wait=120", f"Content-Length: {len(body)}")

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        with suppress(ConnectionError):
            writer.write(head + body)
            await writer.drain()
            await asyncio.sleep(0.3)
        writer.close()
        del reader

    for _ in range(60):
        await asyncio.gather(*(one() for _ in range(5)))
    await asyncio.sleep(1)


async def waits_for_one_task(target: SiegeTarget) -> None:
    """1,500 requests that wait, and stay."""
    task = (await target.submit(pad=MEGABYTE)).json()
    await unread(target, [target.request(f"GET /v1/tasks/{task['id']}", "careless", "Prefer: wait=5")] * 1500, 10)


async def unread_replays(target: SiegeTarget) -> None:
    await unread(target, [target.request("GET /v1/events?after=0", "careless", STREAM)] * 15)


async def unread_live_streams(target: SiegeTarget) -> None:
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(target.silent(target.request("GET /v1/events", "careless", STREAM)))
        await large_tasks(target, 150)


async def slow_bodies(target: SiegeTarget) -> None:
    """All of them but the last byte."""
    head = target.request("POST /v1/tasks", "careless", f"Content-Length: {MEGABYTE}")
    connections = []
    for _ in range(200):
        _, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(head + b" " * (MEGABYTE - 1))
        connections.append(writer)
    await asyncio.sleep(5)
    for writer in connections:
        writer.transport.abort()


async def wrong_items(target: SiegeTarget) -> None:
    """As many wrong values as fit into a body, in places that are checked one by one."""
    many = b",".join([b"1"] * 480_000)
    empty = b",".join([b"{}"] * 320_000)
    for items in (many, empty):
        for body in (
            b'{"provider":"piapi","model":"gpt-4o-image","task_type":"chat-completions","input":{"messages":[%b]}}',
            b'{"provider":"piapi","model":"Qubico/flux1-dev-advanced","task_type":"txt2img-lora","input":{"prompt":"x",'
            b'"lora_settings":[%b]}}',
            b'{"provider":"piapi","model":"Qubico/flux1-schnell","task_type":"txt2img","input":{},"metadata":[%b]}',
            b"[%b]",
        ):
            response = await target.client.post("/v1/tasks", content=body % items, headers=target.key("careless"))
            assert response.status_code == 422, response.status_code
            assert len(response.json()["errors"]) <= 50


ATTACKS = (
    Attack("list 200 tasks of 1 MB, 10 readers that never read", unread_lists, two_hundred_large_tasks),
    Attack("300 responses of 1 MB that nobody reads", unread_tasks, one_hundred_large_tasks),
    Attack("300 tasks of 1 MB with Prefer: wait, clients leave", waits_of_clients_that_left),
    Attack("1,500 requests wait for one task of 1 MB", waits_for_one_task),
    Attack("15 streams replay 100 tasks of 1 MB, unread", unread_replays, one_hundred_large_tasks),
    Attack("5 live streams over 150 tasks of 1 MB, unread", unread_live_streams),
    Attack("200 bodies of 1 MB without their last byte", slow_bodies),
    Attack("bodies of 300,000 to 500,000 wrong items", wrong_items),
)
