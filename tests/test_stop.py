"""The real process, `python -m service`: how it starts, how it stops, and what it still knows after a kill."""

import asyncio
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest
from httpx_sse import aconnect_sse
from starlette.requests import Request
from starlette.responses import Response

from service.tools.harness.ports import free_port
from tests.conftest import PATIENCE, TXT2IMG, Subscriber, img2img, txt2img

ROOT = Path(__file__).parent.parent


async def start(
    env: dict[str, str], *, ready: bool = True, stderr: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
    if ready:
        retries = httpx.AsyncHTTPTransport(retries=8)
        async with httpx.AsyncClient(transport=retries, base_url=f"http://127.0.0.1:{env['PORT']}") as client:
            assert (await client.get("/readyz")).status_code == 200
    return process


@asynccontextmanager
async def process(env: dict[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """The running service and a client with alice's key; killed at the end if it still runs."""
    one = await start(env)
    url = f"http://127.0.0.1:{env['PORT']}"
    try:
        async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": "alice-key"}, timeout=PATIENCE) as client:
            yield one, client
    finally:
        if one.returncode is None:
            one.kill()
        await one.communicate()


async def ended(one: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Its exit code and what it wrote."""
    async with asyncio.timeout(30):
        out, err = await one.communicate()
    return one.returncode, (out + err).decode()


async def refused(env: dict[str, str]) -> str:
    """What a start that must fail writes."""
    code, text = await ended(await start(env, ready=False))
    assert code not in (0, None)
    assert "Traceback" not in text
    return text


async def test_sigterm_ends_streams_politely_answers_who_waits_and_exits_with_0(
    env: dict[str, str], sandbox: str
) -> None:
    async with process(env) as (one, client), aconnect_sse(client, "GET", "/v1/events?after=0") as source:
        waiting = asyncio.create_task(client.post("/v1/tasks", json=txt2img("hold=x"), headers={"Prefer": "wait=60"}))
        stream = source.aiter_sse()
        while (await anext(stream)).event != "task.processing":
            pass
        began = monotonic()
        one.send_signal(signal.SIGTERM)
        assert [event.data async for event in stream if event.data] == []  # the end of the body, not a broken line
        assert (await waiting).status_code == 202
        code, text = await ended(one)
    assert (code, monotonic() - began < 10) == (0, True)
    assert "Traceback" not in text


@pytest.mark.parametrize("released", ["while it is dead", "when it lives again"])
async def test_a_killed_service_loses_nothing_that_it_acknowledged(
    env: dict[str, str], sandbox: str, subscriber: Subscriber, released: str
) -> None:
    async with process(env) as (one, client):
        await client.post("/v1/subscriptions", json={"url": subscriber.url})
        for make in (txt2img, img2img) * 4:
            assert (await client.post("/v1/tasks", json=make("hold=gate"))).status_code == 202
        async with aconnect_sse(client, "GET", "/v1/events?after=0&types=task.submitted") as source:
            stream = source.aiter_sse()
            ids = {(await anext(stream)).json()["data"]["id"] for _ in range(8)}
        one.kill()
        await one.wait()
        release = f"{sandbox}/sandbox/release/gate"
        if released == "while it is dead":
            await client.post(release)
    async with process(env) as (_, client):
        await client.post(release)
        await subscriber.until(lambda: ids <= {event["data"]["id"] for event in subscriber.events})
    assert set(subscriber.types) == {"task.completed"}


async def test_a_delivery_in_hand_at_the_kill_is_sent_again_with_the_same_id(
    env: dict[str, str], sandbox: str, subscriber: Subscriber
) -> None:
    never = asyncio.Event()

    async def hang(request: Request, body: bytes) -> Response:
        await never.wait()
        return Response()

    subscriber.answer = hang
    async with process(env) as (one, client):
        await client.post("/v1/subscriptions", json={"url": subscriber.url})
        await client.post("/v1/tasks", json=TXT2IMG)
        await subscriber.count(1)
        one.kill()
    async with process(env):
        await subscriber.count(2)
    never.set()
    assert len({headers["webhook-id"] for headers, _ in subscriber.received}) == 1


async def test_a_kill_sends_nothing_twice_to_the_provider(env: dict[str, str], sandbox: str) -> None:
    async with process(env | {"PIAPI_MAX_INFLIGHT": "2"}) as (one, client):
        for _ in range(6):
            assert (await client.post("/v1/tasks", json=txt2img("answer_delay=0.2"))).status_code == 202
        one.kill()
    async with process(env) as (_, client):
        listed = (await client.get("/v1/tasks")).json()["data"]
        for task in listed:
            if task["status"] != "unconfirmed":
                await client.get(task["links"]["self"], headers={"Prefer": "wait=15"})
        ledger = (await client.get(f"{sandbox}/sandbox/ledger")).json()
    assert len(listed) == 6
    assert ledger["submits"] <= 6


@pytest.mark.sqlite
async def test_two_services_cannot_use_one_database(env: dict[str, str]) -> None:
    async with process(env):
        text = await refused(env | {"PORT": str(free_port())})
    assert "test.db" in text


@pytest.mark.sqlite
async def test_without_api_keys_a_key_that_works_is_printed_on_a_terminal(env: dict[str, str]) -> None:
    terminal, its_end = pty.openpty()
    one = await start(env | {"API_KEYS": "", "SECRET_KEY": ""}, stderr=its_end)
    os.close(its_end)
    said = await asyncio.to_thread(os.read, terminal, 4096)
    key = re.search(r"the key for this run is: (\S+)", said.decode())[1]  # type: ignore[index]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{env['PORT']}", headers={"X-API-Key": key}) as client:
        assert (await client.post("/v1/tasks", json=TXT2IMG)).status_code == 202
    one.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(one.wait(), PATIENCE) == 0


@pytest.mark.sqlite
async def test_in_a_log_the_start_says_how_to_set_a_key_instead(env: dict[str, str]) -> None:
    one = await start(env | {"API_KEYS": "", "SECRET_KEY": ""})
    one.send_signal(signal.SIGTERM)
    _, text = await ended(one)
    assert "set API_KEYS=name:key" in text
    assert "key for this run" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "99999"),
        ("PUBLIC_URL", "example.com"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "a-secret-key-of-this-test-with-32-characters,short"),
        ("API_KEYS", "alice"),
        ("API_KEYS", "alice:"),
        ("API_KEYS", "alice:key:root"),
        ("DATABASE_URL", "mysql://x"),
        ("DATABASE_URL", "sqlite:////nowhere/at/all.db"),
        ("PIAPI_BASE_URL", "ftp://x"),
        ("PIAPI_MAX_INFLIGHT", "0"),
        ("ALLOW_PRIVATE_TARGETS", "10.0.0.0/99"),
        ("RETRY_SCHEDULE", "5,soon"),
        ("RETRY_SCHEDULE", "-1"),
        ("DELIVERY_TIMEOUT", "nan"),
        ("SWEEP_AFTER", "inf"),
        ("MAX_BODY_BYTES", "1MB"),
        ("RETENTION_DAYS", "0"),
    ],
)
async def test_a_wrong_setting_stops_the_start_with_its_name(env: dict[str, str], name: str, value: str) -> None:
    text = await refused(env | {name: value})
    assert name in text
    assert "a-secret-key" not in text


@pytest.mark.parametrize("missing", ["SECRET_KEY", "API_KEYS"])
async def test_off_loopback_a_secret_key_and_api_keys_are_required(env: dict[str, str], missing: str) -> None:
    text = await refused(env | {"HOST": "0.0.0.0", missing: ""})
    assert missing in text


@pytest.mark.sqlite
async def test_a_port_that_is_taken_stops_the_start(env: dict[str, str], tmp_path: Path) -> None:
    async with process(env):
        text = await refused(env | {"DATABASE_URL": f"sqlite:///{tmp_path}/other.db"})
    assert f"PORT: {env['PORT']} is in use" in text


async def test_everything_wrong_is_told_at_once_also_what_only_shows_when_used(env: dict[str, str]) -> None:
    wrong = {"MEDIA_DIR": "/dev/null/media", "HOST": "no.such.invalid", "SWEEP_AFTER": "soon", "PIAPI_API_KEY": "ü"}
    text = await refused(env | wrong | {"DATABASE_URL": "sqlite:////nowhere/at/all.db"})
    for name in (*wrong, "DATABASE_URL"):
        assert f"\n  {name}: " in text
    assert "listens" not in text


async def test_off_loopback_without_a_public_address_the_start_warns(env: dict[str, str], tmp_path: Path) -> None:
    open_to_all = {"HOST": "0.0.0.0", "API_KEYS": "alice:alice-key", "PIAPI_BASE_URL": "https://192.0.2.1"}
    text = await refused(env | open_to_all)  # the key is too short; the warning comes all the same
    assert "PUBLIC_URL is not set" in text
    assert "PUBLIC_URL" not in await refused(env | open_to_all | {"PUBLIC_URL": "https://bridge.example.com"})


async def test_a_crash_before_it_listens_ends_the_process(env: dict[str, str]) -> None:
    # The store is open by then, and its threads would keep the process.
    code = (
        "import os, uvloop\n"
        "from service.assembly.bridge import Bridge; from service.main import serve\n"
        "from service.settings import load_settings\n"
        "async def crash(self): raise RuntimeError('on purpose')\n"
        "Bridge.start = crash; uvloop.run(serve(load_settings(os.environ)))"
    )
    one = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), cwd=ROOT, env={"PATH": os.environ["PATH"], **env}, stderr=asyncio.subprocess.PIPE
    )
    _, err = await asyncio.wait_for(one.communicate(), PATIENCE)
    assert (one.returncode, b"on purpose" in err) == (1, True)


async def test_settings_are_read_from_the_env_file_of_the_working_folder(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()) + "PORT=eighty\n")
    one = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MAX_BODY_BYTES": "1"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(one.communicate(), PATIENCE)
    assert b"PORT: must be a whole number" in err
    assert b"MAX_BODY_BYTES: must be between" in err  # what the environment says wins
