"""What the sandbox providers share: ledger, pictures, callbacks and background work."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx
import orjson
from starlette.requests import Request

from .behaviour import Behaviour, marker_in, parse
from .callbacks import CallbackSender, OutgoingCallback
from .ledger import Ledger
from .pictures import Gallery

# A key that the sandbox refuses, to try a wrong key.
WRONG_KEY = "invalid"


class SandboxContext:
    def __init__(self, public_url: str | None, callback_retry: float, callback_timeout: float) -> None:
        self.ledger = Ledger()
        self.gallery = Gallery()
        self.callback_retry = callback_retry
        self.callback_timeout = callback_timeout
        self._public_url = public_url
        self._releases: dict[str, asyncio.Event] = {}
        self._jobs: set[asyncio.Task[Any]] = set()
        self._sender: CallbackSender | None = None

    def open(self, client: httpx.AsyncClient) -> None:
        self._sender = CallbackSender(client)

    async def stop_work(self) -> None:
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    def base_url(self, request: Request) -> str:
        return (self._public_url or str(request.base_url)).rstrip("/")

    def behaviour(self, request: Request, prompt: object) -> Behaviour:
        """Raises UnknownBehaviour for what is not in the table."""
        text = request.headers.get("x-sandbox") or marker_in(prompt) or ""
        behaviour = parse(text)
        if behaviour.times is not None and self.ledger.calls_with(f"{text}\n{prompt}") > behaviour.times:
            return behaviour.without_faults()
        return behaviour

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        job = asyncio.create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def send(self, call: OutgoingCallback | None) -> None:
        """Returns after the first attempt; repeats go on in the background."""
        if call is None or self._sender is None or await self._sender.send(call):
            return
        if call.attempts > 1:
            self.spawn(self._sender.repeat(call))

    async def queue(self, behaviour: Behaviour) -> None:
        await asyncio.sleep(behaviour.delay / 4)
        await self.released(behaviour.queue)

    async def work(self, behaviour: Behaviour) -> None:
        await asyncio.sleep(behaviour.delay * 3 / 4)
        await self.released(behaviour.hold)

    async def released(self, name: str) -> None:
        if name:
            await self._release(name).wait()

    def release(self, name: str) -> None:
        self._release(name).set()

    def forget_releases(self) -> None:
        for event in self._releases.values():
            event.set()
        self._releases.clear()

    def _release(self, name: str) -> asyncio.Event:
        return self._releases.setdefault(name, asyncio.Event())


def key_works(key: object) -> bool:
    return isinstance(key, str) and key.strip() not in {"", WRONG_KEY}


def json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def prompt_of(value: object) -> str:
    """The prompt of an input, or else its first string: what the ledger shows and the colour comes from."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        named = value.get("prompt") or value.get("text")
        return named if isinstance(named, str) else next(filter(None, map(prompt_of, value.values())), "")
    if isinstance(value, list):
        return next(filter(None, map(prompt_of, value)), "")
    return ""
