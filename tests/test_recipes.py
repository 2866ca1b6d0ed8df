"""The recipes in docs/: their programs run as they stand on the page."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.tools.harness.ports import free_port
from tests.integrations.node import environment, node

from .conftest import PATIENCE, Service, txt2img

DOCS = Path(__file__).parents[1] / "docs"
README = (DOCS.parent / "README.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page, without the indent of a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", (DOCS / page).read_text(), re.M | re.S)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def block(page: str, language: str, part: str) -> str:
    """The one block that holds `part`."""
    (found,) = [text for text in blocks(page, language) if part in text]
    return found


def runner(language: str) -> list[str]:
    return {"python": [sys.executable, "-c"], "js": [node(), "-e"], "sh": ["bash", "-euc"]}[language]


@asynccontextmanager
async def started(
    service: Service, language: str, program: str, **env: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *runner(language),
        program,
        env=environment(
            CALLBRIDGE_URL=service.url,
            CALLBRIDGE_KEY="alice-key",
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **env,
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def output(service: Service, language: str, program: str, **env: str) -> str:
    """What it prints until it ends by itself."""
    async with started(service, language, program, **env) as process, asyncio.timeout(PATIENCE):
        told = (await process.communicate())[0].decode()
        assert process.returncode == 0, told
        return told


async def line(process: asyncio.subprocess.Process, part: str) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while told := (await process.stdout.readline()).decode():
            if part in told:
                return told
    raise AssertionError(f"ended without printing {part!r}")


@pytest.mark.parametrize(
    ("page", "language", "part"),
    [
        ("python.md", "python", "Idempotency-Key"),
        ("node.md", "js", "Idempotency-Key"),
        ("moving-in.md", "python", '"provider": "piapi"'),
        ("moving-in.md", "python", '"provider": "modelslab"'),
    ],
)
async def test_a_program_that_submits_prints_the_address_of_the_result(
    service: Service, page: str, language: str, part: str
) -> None:
    program = block(page, language, part).replace("a little cat", "a little cat [sandbox: delay=0.05]")
    assert (await output(service, language, program)).startswith("completed http")


@pytest.mark.parametrize(("page", "language"), [("python.md", "python"), ("node.md", "js")])
async def test_a_receiver_takes_a_ping_and_a_task_and_refuses_a_stranger(
    service: Service, page: str, language: str
) -> None:
    port = str(free_port())
    program = block(page, language, "WEBHOOK_SECRET").replace("7000", port)
    url = f"http://127.0.0.1:{port}/hook"
    made = (await service.client.post("/v1/subscriptions", json={"url": url})).json()
    async with started(service, language, program, WEBHOOK_SECRET=made["secret"]) as process:
        await until_it_listens(int(port))
        ping = (await service.client.post(f"/v1/subscriptions/{made['id']}/ping")).json()
        assert ping["status"] == "delivered"
        task = await service.finished(txt2img())
        assert task["id"] in await line(process, "task.completed")
        stranger = await service.anybody.post(url, json={"type": "task.completed"})
        assert stranger.status_code == 401


async def until_it_listens(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                return
            await asyncio.sleep(0.05)


async def test_the_python_reader_follows_the_events_from_the_last_one_it_saw(service: Service) -> None:
    await service.finished(txt2img())
    async with started(service, "python", block("python.md", "python", "connect_sse"), LAST_SEEN="1") as process:
        assert (await line(process, "task")).startswith("2 task.submitted")
        await service.finished(txt2img())
        assert (await line(process, "8 ")).strip() == "8 task.completed"


@pytest.mark.parametrize("page", ["n8n.md", "zapier.md", "make.md", "keep-results.md"])
async def test_the_curl_that_subscribes_is_taken(service: Service, page: str) -> None:
    commands = [text for text in blocks(page, "sh") if "/v1/subscriptions" in text]
    assert commands
    for command in commands:
        assert '"secret":"whsec_' in await output(service, "sh", command.replace("…", "abc"))


async def test_the_stream_until_stored_ends_with_the_finishing_event_where_nothing_is_copied(service: Service) -> None:
    task = await service.finished(txt2img())
    told = await output(service, "sh", block("keep-results.md", "sh", "until=stored"), TASK=task["id"])
    assert "event: task.completed" in told


async def test_the_listen_of_the_page_starts(service: Service) -> None:
    command = block("no-public-address.md", "sh", "listen").partition("\n")[2]
    command = command.replace("callbridge ", f"{sys.executable} -m service ")
    async with started(service, "sh", command, PYTHONUNBUFFERED="1") as process:
        assert await line(process, "whsec_")


def test_the_readme_links_every_recipe() -> None:
    for page in DOCS.glob("*.md"):
        assert f"docs/{page.name}" in README, f"README does not link docs/{page.name}"
