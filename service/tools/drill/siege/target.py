"""The service under attack: a process with a sandbox beside it."""

import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.tools.harness.ports import free_port
from service.tools.harness.processes import (
    PATIENCE,
    NeverStarted,
    answers,
    end_of,
    running,
    service_settings,
)

# Each key's name is its owner; `bystander` is used by the one who measures.
OWNERS = ("careless", "bystander", *(f"owner{n}" for n in range(8)))
IMG = {"provider": "piapi", "model": "Qubico/flux1-schnell", "task_type": "txt2img"}


@dataclass(frozen=True, slots=True)
class SiegeTarget:
    url: str
    port: int
    pid: int
    folder: Path
    client: httpx.AsyncClient
    # The sandbox's address.
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
        """A task with `pad` bytes of metadata; `how` is for the sandbox."""
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
async def started(folder: Path, settings: Mapping[str, str], files: int | None = None) -> AsyncIterator[SiegeTarget]:
    """`files`: the hard limit of open files. `folder` must exist. Raises NeverStarted."""
    providers, port = free_port(), free_port()
    sandbox_url, url = f"http://127.0.0.1:{providers}", f"http://127.0.0.1:{port}"
    keys = ",".join(f"{owner}:{key_of(owner)}" for owner in OWNERS)
    env = {**service_settings(folder, port, sandbox_url, keys), **settings}
    log = folder / "service.log"
    async with (
        running(["sandbox", "--port", str(providers)], {}, folder / "providers.log"),
        running([], env, log, files) as process,
        httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as client,
    ):
        if not await answers(process, f"{url}/readyz"):
            raise NeverStarted(end_of(log))
        yield SiegeTarget(url, port, process.pid, folder, client, sandbox_url)
