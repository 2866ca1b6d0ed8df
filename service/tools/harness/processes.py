"""Starts service and sandbox as separate processes, with `python -m service` as anybody would."""

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

import service

ROOT = Path(service.__file__).parents[1]
STOP_SECONDS = 15.0
# A process responds within this time even on a busy machine.
PATIENCE = 30.0


class NeverStarted(Exception):
    """A process did not start; the text is the end of its log."""


def service_settings(folder: Path, port: int, providers: str, api_keys: str) -> dict[str, str]:
    """A service on loopback with everything it keeps in `folder`; `providers` is the sandbox's address."""
    return {
        "PORT": str(port),
        "API_KEYS": api_keys,
        "SECRET_KEY": "for-processes-that-are-thrown-away-with-their-folder",
        "DATABASE_URL": f"sqlite:///{folder / 'callbridge.db'}",
        "MEDIA_DIR": str(folder / "media"),
        "PIAPI_API_KEY": "any-key-will-do-here",
        "MODELSLAB_API_KEY": "any-key-will-do-here",
        "PIAPI_BASE_URL": providers,
        "PIAPI_LLM_BASE_URL": providers,
        "MODELSLAB_BASE_URL": providers,
        "ALLOW_PRIVATE_TARGETS": "true",
    }


async def start(
    command: Sequence[str], settings: Mapping[str, str], log: Path, files: int | None = None
) -> asyncio.subprocess.Process:
    """`python COMMAND…`; `files`: the hard limit of open files."""
    # Without the person's environment and .env: reproducible, and no real account is touched.
    env = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "PYTHON_DOTENV_DISABLED": "1", **settings}
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=log.parent, env=env, stdin=asyncio.subprocess.DEVNULL,
            stdout=output, stderr=output, preexec_fn=_limit_files(files),
        )  # fmt: skip


@asynccontextmanager
async def running(
    arguments: Sequence[str], settings: Mapping[str, str], log: Path, files: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m service ARGUMENTS…`, asked to stop at the end."""
    process = await start(["-m", "service", *arguments], settings, log, files)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def answers(process: asyncio.subprocess.Process, url: str, seconds: float = PATIENCE) -> bool:
    """Wait until `url` returns 200; False when the process ended or time ran out."""
    end = time.monotonic() + seconds
    async with httpx.AsyncClient(trust_env=False) as client:
        while process.returncode is None and time.monotonic() < end:
            try:
                if (await client.get(url)).status_code == 200:
                    return True
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)
    return False


def end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _limit_files(files: int | None) -> Callable[[], None] | None:
    if files is None:
        return None
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
