"""Several processes of one service: they share the port and the work, and one that dies is missed by nobody."""

import asyncio
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from service.tools.harness.ports import free_port
from tests.conftest import PATIENCE, Subscriber, environment, txt2img
from tests.servers import fresh_database


@pytest.fixture
def env(sandbox: str, tmp_path: Path) -> dict[str, str]:
    many = {"DATABASE_URL": fresh_database(), "WEB_CONCURRENCY": "2", "RATE_LIMIT": "0"}
    return os.environ | environment(sandbox, tmp_path, free_port()) | many


@pytest.fixture
async def supervisor(env: dict[str, str], tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "service", env=env, stderr=log)
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


@pytest.fixture
async def client(env: dict[str, str], supervisor: asyncio.subprocess.Process) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{env['PORT']}", headers={"X-API-Key": "alice-key"}, timeout=PATIENCE
    ) as one:
        await until(lambda: len(children(supervisor.pid)) == 2)
        await answers(one)
        yield one


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(2 * PATIENCE):
        while not true():
            await asyncio.sleep(0.02)


async def answers(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            try:
                if (await client.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def test_two_processes_finish_each_task_with_one_event(client: httpx.AsyncClient, subscriber: Subscriber) -> None:
    await client.post("/v1/subscriptions", json={"url": subscriber.url})

    async def finished(n: int) -> str:
        # A connection of its own, so that either process may get it.
        async with httpx.AsyncClient(base_url=client.base_url, headers=client.headers, timeout=PATIENCE) as own:
            task = (await own.post("/v1/tasks", json=txt2img(metadata={"n": n}), headers={"Prefer": "wait=15"})).json()
        assert task["status"] == "completed"
        return str(task["id"])

    ids = await asyncio.gather(*(finished(n) for n in range(12)))
    await subscriber.count(12)
    assert sorted(event["data"]["id"] for event in subscriber.events) == sorted(ids)


async def test_a_dead_process_is_replaced_while_the_port_keeps_responding(
    client: httpx.AsyncClient, supervisor: asyncio.subprocess.Process
) -> None:
    first = children(supervisor.pid)
    os.kill(min(first), signal.SIGKILL)
    await until(lambda: len(children(supervisor.pid) - first) == 1 and len(children(supervisor.pid)) == 2)
    await answers(client)


async def test_sigterm_ends_all_of_them_in_order(
    client: httpx.AsyncClient, supervisor: asyncio.subprocess.Process
) -> None:
    serving = children(supervisor.pid)
    supervisor.terminate()
    async with asyncio.timeout(25):
        assert await supervisor.wait() == 0
    assert not any(map(alive, serving))


async def test_they_end_when_the_process_that_started_them_is_killed(
    client: httpx.AsyncClient, supervisor: asyncio.subprocess.Process
) -> None:
    serving = children(supervisor.pid)
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: not any(map(alive, serving)))


async def test_one_sign_in_link_is_printed_and_any_process_takes_it(env: dict[str, str]) -> None:
    terminal, its_end = pty.openpty()
    alone = env | {"API_KEYS": "", "SECRET_KEY": "", "LOG_LEVEL": "error"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "service", env=alone, stderr=its_end)
    os.close(its_end)
    try:
        said = b""
        async with asyncio.timeout(2 * PATIENCE):
            while b"/login" not in said or not said.endswith(b"\n"):
                said += await asyncio.to_thread(os.read, terminal, 4096)
        await until(lambda: len(children(process.pid)) == 2)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{env['PORT']}", timeout=PATIENCE) as client:
            await answers(client)
            [link] = re.findall(r"http://\S+/login\S+", said.decode())
            assert (await client.get(link)).status_code == 303
            assert (await client.get("/")).status_code == 200
    finally:
        process.terminate()
        rest = asyncio.to_thread(read_to_end, terminal)
        assert await process.wait() == 0
    assert b"/login" not in await rest


def read_to_end(terminal: int) -> bytes:
    found = b""
    try:
        while data := os.read(terminal, 4096):
            found += data
    except OSError:  # nobody writes there any more
        pass
    os.close(terminal)
    return found
