"""The service under siege: a process of its own with pretend providers beside it, and its memory."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

import service

# Each key's name is its owner; `innocent` is used by the one who measures.
OWNERS = ("careless", "innocent", *(f"owner{n}" for n in range(8)))
PATIENCE = 30.0
STOP_SECONDS = 15.0
IMG = {"provider": "piapi", "model": "Qubico/flux1-schnell", "task_type": "txt2img"}


class NeverStarted(Exception):
    """A process did not come up; the text is the end of its log."""


@dataclass(frozen=True, slots=True)
class Target:
    url: str
    port: int
    pid: int
    folder: Path
    client: httpx.AsyncClient
    # The address of the pretend providers.
    providers: str

    def peak_mb(self) -> float:
        """The most memory (resident) that the process has had so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def log_size(self) -> int:
        return (self.folder / "service.log").stat().st_size

    def key(self, owner: str) -> dict[str, str]:
        assert owner in OWNERS
        return {"X-API-Key": key_of(owner)}

    async def submit(
        self, owner: str = "careless", pad: int = 0, how: str = "hold=gate", **headers: str
    ) -> httpx.Response:
        """A task with `pad` bytes of metadata; `how` is for the pretend provider."""
        body: dict[str, Any] = {**IMG, "input": {"prompt": f"a cat [sandbox: {how}]"}, "metadata": {"pad": "x" * pad}}
        return await self.client.post("/v1/tasks", json=body, headers=self.key(owner) | headers)

    @contextmanager
    def silent(self, request: bytes) -> Iterator[socket.socket]:
        """A connection that sends `request` and reads nothing."""
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.settimeout(10)
            peer.connect(("127.0.0.1", self.port))
            peer.sendall(request)
            yield peer

    def request(self, line: str, owner: str | None = None, *headers: str) -> bytes:
        lines = [f"{line} HTTP/1.1", "Host: x", *headers]
        if owner is not None:
            lines.append(f"X-API-Key: {key_of(owner)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def key_of(owner: str) -> str:
    return f"siege-key-of-{owner}"


@asynccontextmanager
async def started(folder: Path, settings: Mapping[str, str], files: int | None = None) -> AsyncIterator[Target]:
    """`files`: the hard limit of open files. `folder` must exist. Raises NeverStarted."""
    providers, port = free_ports(2)
    pretend = f"http://127.0.0.1:{providers}"
    env = {
        "PORT": str(port),
        "API_KEYS": ",".join(f"{owner}:{key_of(owner)}" for owner in OWNERS),
        "SECRET_KEY": "only-for-this-siege-and-thrown-away-with-it",
        "DATABASE_URL": f"sqlite:///{folder / 'siege.db'}",
        "MEDIA_DIR": str(folder / "media"),
        "PIAPI_API_KEY": "siege-piapi",
        "MODELSLAB_API_KEY": "siege-modelslab",
        "PIAPI_BASE_URL": pretend,
        "PIAPI_LLM_BASE_URL": pretend,
        "MODELSLAB_BASE_URL": pretend,
        "ALLOW_PRIVATE_TARGETS": "true",
        **settings,
    }
    async with (
        _process(folder / "providers.log", ["sandbox", "--port", str(providers)], {}, None),
        _process(folder / "service.log", [], env, files) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client,
    ):
        if not await _answers(client, process):
            raise NeverStarted((folder / "service.log").read_text(errors="replace")[-2000:])
        yield Target(f"http://127.0.0.1:{port}", port, process.pid, folder, client, pretend)


@asynccontextmanager
async def _process(
    log: Path, arguments: list[str], settings: Mapping[str, str], files: int | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    env = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(Path(service.__file__).parents[1]),
        "PYTHON_DOTENV_DISABLED": "1",
        **settings,
    }
    command = [sys.executable, "-m", "service", *arguments]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _answers(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> bool:
    end = time.monotonic() + PATIENCE
    while process.returncode is None and time.monotonic() < end:
        try:
            if (await client.get("/readyz")).status_code == 200:
                return True
        except httpx.TransportError:
            await asyncio.sleep(0.05)
    return False


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
