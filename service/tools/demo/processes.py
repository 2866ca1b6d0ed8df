"""The two processes of the demo."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.core.caller import ApiKey
from service.tools.demo.console import PATIENCE, StepFailed
from service.tools.harness import processes
from service.tools.harness.ports import free_port
from service.web.page.login import LINK_PATH
from service.web.page.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Running:
    providers: str
    service: str
    key: str = field(repr=False)
    sessions: Sessions = field(repr=False)
    folder: Path
    # The sandbox and the service.
    processes: tuple[asyncio.subprocess.Process, asyncio.subprocess.Process]

    def sign_in_link(self) -> str:
        """Works once, within ten minutes."""
        return f"{self.service}{LINK_PATH}{self.sessions.link_token()}"

    async def ready(self) -> None:
        """Wait until both respond. Raises StepFailed with the end of the log of the one that did not."""
        for name, url, process in zip(
            ("sandbox", "service"), (f"{self.providers}/", f"{self.service}/readyz"), self.processes, strict=True
        ):
            if not await processes.answers(process, url, PATIENCE):
                raise StepFailed(f"The {name} did not start.\n{self.log(name)}")

    def log(self, name: str) -> str:
        return processes.end_of(self.folder / f"{name}.log")


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    """Both, with a database and logs in `folder`; asked to stop at the end, with SIGTERM."""
    key, secret_key = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
    sessions = Sessions([secret_key], [ApiKey("demo", key, admin=True)])
    sandbox_port, port = free_port(), free_port()
    sandbox_url = f"http://127.0.0.1:{sandbox_port}"
    settings = processes.service_settings(folder, port, sandbox_url, f"demo:{key}:admin") | {"SECRET_KEY": secret_key}
    async with (
        processes.running(["sandbox", "--port", str(sandbox_port)], {}, folder / "sandbox.log") as providers,
        processes.running([], settings, folder / "service.log") as service,
    ):
        yield Running(sandbox_url, f"http://127.0.0.1:{port}", key, sessions, folder, (providers, service))
