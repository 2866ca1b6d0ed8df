"""Real parts for every test: a service on a free port with a file of its own, the sandbox providers, a subscriber."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.assembly.bridge import Bridge, assemble
from service.net.tls import trusted
from service.server import Server, create_server
from service.settings import load_settings
from service.store.open import open_store
from service.store.sqlite.database import SqliteDatabase
from service.store.sqlite.store import SqliteStore
from service.tools.harness.ports import free_port
from service.tools.harness.serving import serving
from service.tools.postgres import speaks_tls
from service.tools.sandbox.app import create_sandbox
from service.web.app import EssentialOnly
from tests.pgbouncer import find_pgbouncer
from tests.servers import end_of_run, fresh_database, start_of_run

# A machine without them runs the rest; .ci/run installs them.
collect_ignore = [
    name
    for name, there in (("test_pgbouncer.py", find_pgbouncer()), ("test_postgres_tls.py", speaks_tls()))
    if not there
]

PATIENCE = 20.0
# Those of the service: reading them takes longer than starting it.
CERTIFICATES = trusted()
TXT2IMG: dict[str, Any] = {
    "provider": "piapi",
    "model": "Qubico/flux1-schnell",
    "task_type": "txt2img",
    "input": {"prompt": "a little cat [sandbox: delay=0.05]"},
}
IMG2IMG: dict[str, Any] = {
    "provider": "modelslab",
    "model": "flux",
    "task_type": "img2img",
    "input": {
        "prompt": "a cat [sandbox: delay=0.05]",
        "init_image": "https://example.com/cat.png",
        "width": "512",
        "height": "512",
        "samples": "1",
    },
}


def txt2img(sandbox: str = "delay=0.05", **fields: Any) -> dict[str, Any]:
    """A PiAPI task; `sandbox` says how the sandbox behaves."""
    return TXT2IMG | {"input": {"prompt": f"a little cat {_told(sandbox)}"}} | fields


def img2img(sandbox: str = "delay=0.05", **fields: Any) -> dict[str, Any]:
    return IMG2IMG | {"input": {**IMG2IMG["input"], "prompt": f"a cat {_told(sandbox)}"}} | fields


def _told(sandbox: str) -> str:
    """Quick, unless the test says after it how long it takes."""
    return f"[sandbox: delay=0.05 {sandbox}]"


@dataclass
class Service:
    """A running Callbridge. `client` has alice's key, `admin` an admin key, `bob` another owner's."""

    url: str
    bridge: Bridge
    server: Server
    client: httpx.AsyncClient
    bob: httpx.AsyncClient
    admin: httpx.AsyncClient
    anybody: httpx.AsyncClient

    @property
    def database(self) -> SqliteDatabase:
        """That of a service on SQLite."""
        assert isinstance(self.bridge.store, SqliteStore)
        return self.bridge.store.database

    async def submit(self, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        answer = await self.client.post("/v1/tasks", json=body, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        task: dict[str, Any] = answer.json()
        return task

    async def finished(self, body: dict[str, Any]) -> dict[str, Any]:
        """Submit and wait for the end."""
        return await self.submit(body, Prefer="wait=15")

    async def event(self, task_id: str, event_type: str, after: int = 0) -> dict[str, Any]:
        """The first event of that type; waits for it on the task's own stream of moves."""
        async with asyncio.timeout(PATIENCE):
            async for event in self.events(task_id=task_id, after=after):
                if event["type"] == event_type:
                    return event
        raise AssertionError

    async def events(self, after: int = 0, task_id: str | None = None) -> AsyncIterator[dict[str, Any]]:
        query = {"after": after} | ({"task_id": task_id} if task_id else {})
        async with self.client.stream(
            "GET", "/v1/events", params=query, headers={"Accept": "text/event-stream"}, timeout=PATIENCE
        ) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    yield orjson.loads(line[5:])


@dataclass
class Subscriber:
    """A small application that keeps what it is sent; `answer` may be replaced to misbehave."""

    url: str = ""
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    answer: Callable[[Request, bytes], Any] | None = None
    parallel: int = 0
    most_parallel: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for _, body in self.received]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    async def take(self, request: Request) -> Response:
        body = await request.body()
        self.parallel += 1
        self.most_parallel = max(self.most_parallel, self.parallel)
        try:
            async with self._changed:
                self.received.append((dict(request.headers), body))
                self.requests.append(request.url.path)
                self._changed.notify_all()
            answer = self.answer(request, body) if self.answer else Response(status_code=204)
            return await answer if asyncio.iscoroutine(answer) else answer
        finally:
            self.parallel -= 1

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(enough)

    async def count(self, n: int) -> None:
        await self.until(lambda: len(self.received) >= n)


def pytest_configure(config: pytest.Config) -> None:
    start_of_run(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    end_of_run(config)


@pytest.fixture
async def sandbox() -> AsyncIterator[str]:
    """The address of the sandbox."""
    async with serving(create_sandbox(callback_retry=0.1)) as url:
        yield url


@pytest.fixture
async def subscriber() -> AsyncIterator[Subscriber]:
    one = Subscriber()
    app = Starlette(routes=[Route("/{path:path}", one.take, methods=["POST", "GET"])])
    async with serving(app) as url:
        one.url = f"{url}/hook"
        yield one


def environment(sandbox: str, folder: Path, port: int) -> dict[str, str]:
    return {
        "PORT": str(port),
        "API_KEYS": "alice:alice-key,bob:bob-key,ops:ops-key:admin",
        "SECRET_KEY": "a-secret-key-of-this-test-with-32-characters",
        "DATABASE_URL": f"sqlite:///{folder / 'test.db'}",
        "MEDIA_DIR": str(folder / "media"),
        "PIAPI_API_KEY": "piapi-test-key",
        "MODELSLAB_API_KEY": "modelslab-test-key",
        "PIAPI_BASE_URL": sandbox,
        "PIAPI_LLM_BASE_URL": sandbox,
        "MODELSLAB_BASE_URL": sandbox,
        "ALLOW_PRIVATE_TARGETS": "true",
        "RETRY_SCHEDULE": "0.05,0.1",
    }


@asynccontextmanager
async def running(env: dict[str, str], kill_point: Callable[[str], None] | None = None) -> AsyncIterator[Service]:
    """The service in this loop, on a real socket and a real file; stopped as SIGTERM stops it."""
    settings = load_settings(env)
    store = await open_store(settings.database_url, settings.database_direct_url, kill_point)
    bridge = await assemble(settings, store)
    await bridge.start()
    server = create_server(
        bridge.web.app,
        settings.host,
        settings.port,
        bridge.hub.close,
        stop_seconds=3,
        essential_app=EssentialOnly(bridge.web.app),
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    # Not `serve()`: signals belong to the test runner, and it looks for the end only ten times a second.
    try:
        await server.startup()
    except SystemExit:
        # uvicorn would end the process, and with it every further test.
        await bridge.stop(patience=1.0)
        raise OSError(f"port {settings.port} cannot be listened on") from None
    url = f"http://127.0.0.1:{settings.port}"
    try:
        async with AsyncExitStack() as stack:
            keys = ("alice-key", "bob-key", "ops-key", None)
            clients = [
                await stack.enter_async_context(
                    httpx.AsyncClient(
                        base_url=url, headers={"X-API-Key": key} if key else {}, timeout=PATIENCE, verify=CERTIFICATES
                    )
                )
                for key in keys
            ]
            yield Service(url, bridge, server, clients[0], clients[1], clients[2], clients[3])
    finally:
        await server.shutdown()
        await bridge.stop(patience=1.0)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The suites named below run on both; `@pytest.mark.sqlite` is for a test that looks into the file."""
    return str(getattr(request, "param", "sqlite"))


ON_BOTH_ENGINES = (
    "test_story", "test_tasks_api", "test_events_api", "test_stream_api", "test_subscriptions_api",
    "test_deliveries_api", "test_submitting", "test_llm", "test_custody", "test_insight",
    "test_doors", "test_inline_files", "test_misbehaving_providers", "test_isolation", "test_peer_bugs", "test_queries",
    "test_metrics", "test_changed_settings", "test_clock", "test_stop", "test_subscription_bounds", "test_receivers",
)  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = metafunc.module.__name__.rpartition(".")[2]
    if (
        "engine" in metafunc.fixturenames
        and module in ON_BOTH_ENGINES
        and not list(metafunc.definition.iter_markers("sqlite"))
    ):
        metafunc.parametrize("engine", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def env(sandbox: str, tmp_path: Path, engine: str) -> dict[str, str]:
    made = environment(sandbox, tmp_path, free_port())
    return made if engine == "sqlite" else made | {"DATABASE_URL": fresh_database()}


@pytest.fixture
async def service(env: dict[str, str]) -> AsyncIterator[Service]:
    async with running(env) as one:
        yield one
