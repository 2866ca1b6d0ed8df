"""Copies of the real process: killed in the middle of one, and how much memory a large one takes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.tools.harness.ports import free_port
from tests.conftest import PATIENCE, environment
from tests.file_provider import FileProvider, file_provider
from tests.test_stop import process

LARGE = 200 * 1024 * 1024
HEAD = b"\x89PNG\r\n\x1a\n"
ALLOWED_BYTES = 64 * 1024 * 1024


@pytest.fixture
async def provider() -> AsyncIterator[FileProvider]:
    async with file_provider() as one:
        yield one


@pytest.fixture
def env(provider: FileProvider, tmp_path: Path) -> dict[str, str]:
    return environment(provider.url, tmp_path, free_port()) | {"RESULTS_URL": f"file://{tmp_path / 'results'}"}


def picture(size: int, pause_after: int = -1, paused: asyncio.Event | None = None) -> Any:
    """A page with that many bytes, which stops for ever after some of them."""

    async def chunks() -> AsyncIterator[bytes]:
        sent = len(HEAD)
        yield HEAD
        while sent < size:
            if paused is not None and sent > pause_after:
                paused.set()
                await asyncio.Event().wait()
            chunk = bytes(min(65_536, size - sent))
            sent += len(chunk)
            yield chunk

    def page(request: Request) -> Response:
        return StreamingResponse(chunks(), headers={"content-length": str(size)})

    return page


async def until_stored(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    """The task, once none of its copies is pending."""
    async with asyncio.timeout(3 * PATIENCE):
        await client.get(f"/v1/tasks/{task_id}/events", params={"until": "stored"}, timeout=None)
        task: dict[str, Any] = (await client.get(f"/v1/tasks/{task_id}")).json()
        return task


async def test_a_kill_in_the_middle_of_a_copy_loses_nothing_and_tells_once(
    env: dict[str, str], provider: FileProvider, tmp_path: Path
) -> None:
    paused = asyncio.Event()
    provider.pages["0.png"] = picture(5_000_000, 2_500_000, paused)
    async with process(env) as (one, client):
        task = (await client.post("/v1/tasks", json=provider.task("0.png", "1.png"))).json()
        await paused.wait()
        one.send_signal(signal.SIGKILL)
        await one.wait()
    provider.pages["0.png"] = picture(5_000_000)
    async with process(env) as (_, client):
        files = (await until_stored(client, task["id"]))["output"]["files"]
        assert [file["copy"]["status"] for file in files] == ["stored", "stored"]
        assert files[0]["copy"]["bytes"] == 5_000_000
        told = (await client.get("/v1/events", params={"task_id": task["id"], "types": "task.stored"})).json()["data"]
        assert len(told) == 1
    async with process(env | {"RETENTION_DAYS": "0.00001"}):
        async with asyncio.timeout(PATIENCE):
            while list((tmp_path / "results").iterdir()):
                await asyncio.sleep(0.05)


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
async def test_a_file_of_200_mb_is_copied_in_little_memory(env: dict[str, str], provider: FileProvider) -> None:
    provider.pages["large.png"] = picture(LARGE)
    async with process(env) as (one, client):
        await until_stored(client, (await client.post("/v1/tasks", json=provider.task("small.png"))).json()["id"])
        idle = peak = resident(one.pid)
        copying = asyncio.create_task(
            until_stored(client, (await client.post("/v1/tasks", json=provider.task("large.png"))).json()["id"])
        )
        while not copying.done():
            peak = max(peak, resident(one.pid))
            await asyncio.sleep(0.02)
        assert (await copying)["output"]["files"][0]["copy"]["bytes"] == LARGE
    assert peak - idle < ALLOWED_BYTES
