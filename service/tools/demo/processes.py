"""The service and the pretend providers as anybody would start them: `python -m service`, each a process of its own."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from service.settings import ApiKey
from service.tools.demo.story import PATIENCE, DidNotHappen
from service.web.page.login import LINK_PATH
from service.web.page.sessions import Sessions

ROOT = Path(__file__).parents[3]
STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Running:
    providers: str
    service: str
    key: str = field(repr=False)
    sessions: Sessions = field(repr=False)
    folder: Path
    processes: tuple[subprocess.Popen[bytes], ...]

    def sign_in_link(self) -> str:
        """Works once, within ten minutes."""
        return f"{self.service}{LINK_PATH}{self.sessions.link_token()}"

    async def ready(self) -> None:
        """Until both answer. Raises DidNotHappen with the end of the log of the one that did not."""
        async with httpx.AsyncClient(trust_env=False) as client:
            for name, url, process in zip(
                ("sandbox", "service"), (f"{self.providers}/", f"{self.service}/readyz"), self.processes, strict=True
            ):
                await self._ready(client, name, url, process)

    async def _ready(self, client: httpx.AsyncClient, name: str, url: str, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.02)
        raise DidNotHappen(f"The {name} did not start.\n{self.log(name)}")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Both, with a database and logs in `folder`; asked to stop at the end, with SIGTERM."""
    key, secret_key = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
    sessions = Sessions([secret_key], [ApiKey("demo", key, admin=True)])
    pretend_port, port = _free_ports(2)
    pretend = f"http://127.0.0.1:{pretend_port}"
    settings = {
        "PORT": str(port),
        "API_KEYS": f"demo:{key}:admin",
        "SECRET_KEY": secret_key,
        "DATABASE_URL": f"sqlite:///{folder / 'callbridge.db'}",
        "MEDIA_DIR": str(folder / "media"),
        "PIAPI_API_KEY": "any-key-will-do-here",
        "MODELSLAB_API_KEY": "any-key-will-do-here",
        "PIAPI_BASE_URL": pretend,
        "PIAPI_LLM_BASE_URL": pretend,
        "MODELSLAB_BASE_URL": pretend,
        "ALLOW_PRIVATE_TARGETS": "true",
    }
    with ExitStack() as stack:
        providers = stack.enter_context(_process(folder, "sandbox", ["sandbox", "--port", str(pretend_port)], {}))
        service = stack.enter_context(_process(folder, "service", [], settings))
        yield Running(pretend, f"http://127.0.0.1:{port}", key, sessions, folder, (providers, service))


@contextmanager
def _process(
    folder: Path, name: str, arguments: list[str], settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    # Nothing of the person's own environment or .env: the demo is the same everywhere and touches no real account.
    env = {"PATH": os.environ.get("PATH", ""), "PYTHON_DOTENV_DISABLED": "1", **settings}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            [sys.executable, "-m", "service", *arguments], cwd=ROOT, env=env, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
