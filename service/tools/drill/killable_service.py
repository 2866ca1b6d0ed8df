"""The service under the drill: a child process on one port and one file, started, killed and started again."""

import asyncio
import signal
from pathlib import Path
from typing import Any, Self

import httpx

from service.tools.harness import processes
from service.tools.harness.ports import free_port
from service.tools.harness.processes import NeverStarted, service_settings

KEY, ADMIN_KEY = "drill-key", "drill-admin-key"
# A service starts, and reaches its kill point, within this time even on a busy machine.
PATIENCE = 60.0


class KillableService:
    """`settings` are on top of what every drill needs. Use it as a context manager."""

    def __init__(self, folder: Path, provider_url: str, settings: dict[str, str]) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        keys = f"drill:{KEY},boss:{ADMIN_KEY}:admin"
        self._settings = {
            **service_settings(folder, self.port, provider_url, keys),
            "RESULTS_URL": f"file://{self.results}",
            "COPY_RETRY_SCHEDULE": "0.1,0.2,0.5",
            "RATE_LIMIT": "0",
            **settings,
        }
        self._process: asyncio.subprocess.Process | None = None
        self.client = httpx.AsyncClient(
            base_url=self.url, headers={"X-API-Key": KEY}, timeout=PATIENCE, trust_env=False
        )

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.kill()
        await self.ended()
        await self.client.aclose()

    async def start(self, point: str = "", **settings: str) -> bool:
        """True when it is up, False when its kill point came first."""
        command = ["-m", "service.tools.drill.child", point]
        self._process = await processes.start(command, self._settings | settings, self.log)
        if await processes.answers(self._process, f"{self.url}/healthz", PATIENCE):
            return True
        if self._process.returncode != -signal.SIGKILL:
            raise NeverStarted(processes.end_of(self.log))
        return False

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> None:
        if self._process is not None:
            await self._process.wait()

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Repeats the request until a running service responds to it with neither 5xx nor 409."""
        while True:
            try:
                response = await self.client.request(method, path, **more)
                if response.status_code < 500 and response.status_code != 409:
                    return response
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)

    async def pages(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Everything a listing holds, over all its pages, as the admin sees it."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            params = {"limit": "200", **query, **cursor}
            page = (await self.ask("GET", path, params=params, headers={"X-API-Key": ADMIN_KEY})).json()
            found += page["data"]
            if "next_after" in page:
                more, cursor = bool(page["data"]), {"after": str(page["next_after"])}
            else:
                more, cursor = page["next_cursor"] is not None, {"cursor": str(page["next_cursor"])}
            if not more:
                return found
