"""`listen` and `trigger`, run as a developer runs them: beside a service and a program that takes webhooks."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from service.tools.harness.ports import free_port
from service.tools.harness.serving import serving

from .conftest import PATIENCE, Service, Subscriber, running, txt2img

EVENTS_OF_A_TASK = ["task.queued", "task.submitted", "task.processing", "task.completed"]


class ListenProcess:
    """A running `callbridge listen` and the lines that it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdout is not None
        self._stdout = process.stdout

    async def line(self, part: str) -> str:
        """The next line that holds `part`."""
        async with asyncio.timeout(PATIENCE):
            while line := (await self._stdout.readline()).decode():
                if part in line:
                    return line.rstrip()
        raise AssertionError(f"ended without printing {part!r}")


@asynccontextmanager
async def listening(url: str, *arguments: str, key: str = "alice-key") -> AsyncIterator[ListenProcess]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "listen", *arguments),
        env={**os.environ, "CALLBRIDGE_URL": url, "CALLBRIDGE_KEY": key, "PYTHONUNBUFFERED": "1"},
        stdout=pipe,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield ListenProcess(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def connected(service: Service) -> None:
    """Until a stream of events is open, so that nothing of what follows is missed."""
    async with asyncio.timeout(PATIENCE):
        while not service.bridge.hub.streams:
            await asyncio.sleep(0.01)


async def test_each_event_is_posted_once_signed_with_the_secret_that_is_printed(
    service: Service, subscriber: Subscriber
) -> None:
    async with listening(service.url, "--forward-to", subscriber.url) as listener:
        secret = await listener.line("whsec_")
        await connected(service)
        task = await service.finished(txt2img())
        told = [await listener.line(kind) for kind in EVENTS_OF_A_TASK]
    assert all(task["id"] in line and " 204 " in line for line in told)
    assert subscriber.types == EVENTS_OF_A_TASK
    headers, body = subscriber.received[-1]
    assert Webhook(secret).verify(body, headers)["data"]["output"] == task["output"]
    assert (headers["ce-type"], headers["ce-subject"]) == ("task.completed", task["id"])
    assert headers["webhook-id"] == headers["ce-id"]


async def test_only_the_types_that_were_asked_for_are_printed_one_json_line_each(service: Service) -> None:
    async with listening(service.url, "--print", "--events", "task.completed") as listener:
        await connected(service)
        task = await service.finished(txt2img())
        event = json.loads(await listener.line("{"))
    assert (event["type"], event["data"]["id"]) == ("task.completed", task["id"])


async def test_it_resumes_without_gap_or_repeat_after_a_restart_of_the_service(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    url = f"http://127.0.0.1:{env['PORT']}"
    async with AsyncExitStack() as stack:
        async with running(env) as service:
            listener = await stack.enter_async_context(listening(url, "--forward-to", subscriber.url))
            await listener.line("whsec_")
            await connected(service)
            first = await service.finished(txt2img())
            await subscriber.count(4)
        async with running(env) as again:
            second = await again.finished(txt2img())
            await subscriber.count(8)
    assert subscriber.types == EVENTS_OF_A_TASK * 2
    assert [event["data"]["id"] for event in subscriber.events] == [first["id"]] * 4 + [second["id"]] * 4


async def test_it_waits_while_nobody_listens_at_the_address(service: Service) -> None:
    program, port = Subscriber(), free_port()
    async with listening(service.url, "--forward-to", f"http://127.0.0.1:{port}/hook") as listener:
        await listener.line("whsec_")
        await connected(service)
        await service.finished(txt2img())
        await listener.line("Nobody listens")
        app = Starlette(routes=[Route("/hook", program.take, methods=["POST"])])
        async with serving(app, port=port):
            await program.count(4)
    assert program.types == EVENTS_OF_A_TASK


async def test_a_refusal_of_the_program_is_printed_and_not_sent_again(service: Service, subscriber: Subscriber) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500)
    async with listening(service.url, "--forward-to", subscriber.url) as listener:
        await listener.line("whsec_")
        await connected(service)
        await service.finished(txt2img())
        assert " 500 " in await listener.line("task.completed")
    assert subscriber.types == EVENTS_OF_A_TASK


@pytest.mark.parametrize(
    ("arguments", "key", "told"),
    [
        (["--print"], "wrong-key", "API key"),
        (["--print", "--events", "task.nonsense"], "alice-key", "types"),
        ([], "alice-key", "--forward-to"),
    ],
)
async def test_what_cannot_work_ends_with_a_sentence(
    service: Service, arguments: list[str], key: str, told: str
) -> None:
    async with listening(service.url, *arguments, key=key) as listener:
        await listener.line(told)
        assert await listener.process.wait() != 0


@pytest.mark.parametrize(("status", "code"), [(204, 0), (500, 1)])
async def test_trigger_sends_the_example_of_an_event(
    service: Service, subscriber: Subscriber, status: int, code: int
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=status)
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "trigger", "task.completed", "--subscription", made["id"]),
        *("--url", service.url, "--key", "alice-key"),
        stdout=asyncio.subprocess.PIPE,
    )
    told = (await process.communicate())[0].decode()
    assert (process.returncode, str(status) in told) == (code, True)
    event = subscriber.events[0]
    assert (event["type"], event["test"]) == ("task.completed", True)


async def test_a_key_can_come_from_the_environment_and_is_never_printed(service: Service) -> None:
    async with listening("http://127.0.0.1:1", "--print", "--url", service.url) as listener:
        await connected(service)
        await service.finished(txt2img())
        assert "alice-key" not in await listener.line("task.completed")


async def test_it_says_so_when_callbridge_is_not_there() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}", "--print") as listener:
        await listener.line("cannot be reached")
