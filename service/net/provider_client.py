"""One client for each provider account: sends its requests and reads the responses."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeVar

from service.core.task import Task
from service.core.update import Update
from service.net.provider_http import HttpSender
from service.ports.providers import (
    READ_IN_THREAD,
    CallbackAddress,
    Exchange,
    OpenStream,
    Operation,
    Provider,
    ProviderApi,
    ProviderBusy,
    ProviderResponse,
    SubmitNotSent,
    SubmitOutcome,
    SubmitUnclear,
)

T = TypeVar("T")
NO_CALLBACK = CallbackAddress("", "")
HISTORY_PAGES = 3
# Pages read of a list that replaces a request per task.
LIST_PAGES = 10
# Called after each request with provider, operation, outcome (2xx, 4xx, …, not_sent, unclear) and seconds.
RequestObserver = Callable[[str, Operation, str, float], None]


class PureProvider(Provider, ProviderApi, Protocol):
    """Both sides of a provider."""


class HttpProviderClient:
    """Implements `ports.ProviderClient`."""

    def __init__(self, provider: PureProvider, sender: HttpSender) -> None:
        self.provider: Provider = provider
        self.observers: list[RequestObserver] = []
        self._api: ProviderApi = provider
        self._sender = sender

    async def submit(self, task: Task, callback: CallbackAddress) -> SubmitOutcome:
        exchange = self._api.submit(task, callback)
        return await _read(exchange, await self._send(exchange))

    def streams(self, task: Task) -> bool:
        return self._api.stream_reader(task) is not None

    async def open(self, task: Task) -> SubmitOutcome | OpenStream:
        reader = self._api.stream_reader(task)
        assert reader is not None
        exchange = self._api.submit(task, NO_CALLBACK)
        started = time.monotonic()
        try:
            response, chunks = await self._sender.open(exchange.request)
        except (SubmitNotSent, SubmitUnclear) as error:
            self._observe("stream", _outcome(error), started)
            raise
        self._observe("stream", f"{response.status // 100}xx", started)
        if response.status == 200:
            return OpenStream(reader, chunks)
        return await _read(exchange, await _with_body(response, chunks))

    async def fetch(self, task: Task) -> Update | None:
        exchange = self._api.fetch(task)
        return None if exchange is None else await self._ask(exchange)

    async def search(self, task: Task, is_ours: Callable[[str], bool]) -> Update | None:
        for page in range(1, HISTORY_PAGES + 1):
            exchange = self._api.search(task, is_ours, page)
            if exchange is None:
                return None
            if found := await self._ask(exchange):
                return found
        return None

    async def list_tasks(self, tasks: Sequence[Task]) -> dict[str, Update]:
        wanted = {task.provider_task_id for task in tasks}
        sent = [task.sent_at or task.created_at for task in tasks]
        found: dict[str, Update] = {}
        for page in range(1, LIST_PAGES + 1):
            exchange = self._api.list_tasks(min(sent), max(sent), page)
            listed = await self._ask(exchange) if exchange is not None else []
            found |= {name: one for one in listed if (name := one.provider_task_id) and name in wanted}
            if not listed or len(found) == len(wanted):
                break
        return found

    async def cancel(self, task: Task) -> str | None:
        exchange = self._api.cancel(task)
        if exchange is None:
            return f"{task.provider} has no way to cancel this task; it may run to its end and be charged."
        refusal = await _read(exchange, await self._send(exchange))
        if refusal is None:
            return None
        return f"{task.provider} refused to cancel ({refusal}); the task may run to its end and be charged."

    async def _ask(self, exchange: Exchange[T]) -> T:
        response = await self._send(exchange)
        if response.status == 429:
            seconds = response.headers.get("retry-after", "")
            raise ProviderBusy(float(seconds) if seconds.isdecimal() and len(seconds) < 6 else None)
        return await _read(exchange, response)

    async def _send(self, exchange: Exchange[T]) -> ProviderResponse:
        started = time.monotonic()
        try:
            response = await self._sender.send(exchange.request)
        except (SubmitNotSent, SubmitUnclear) as error:
            self._observe(exchange.operation, _outcome(error), started)
            raise
        self._observe(exchange.operation, f"{response.status // 100}xx", started)
        return response

    def _observe(self, operation: Operation, outcome: str, started: float) -> None:
        for observer in self.observers:
            observer(self.provider.name, operation, outcome, time.monotonic() - started)


async def _read(exchange: Exchange[T], response: ProviderResponse) -> T:
    if len(response.body) > READ_IN_THREAD:
        return await asyncio.to_thread(exchange.read, response)
    return exchange.read(response)


async def _with_body(response: ProviderResponse, chunks: AsyncIterator[bytes]) -> ProviderResponse:
    body = b"".join([chunk async for chunk in chunks])
    return ProviderResponse(response.status, response.headers, body, response.received_at)


def _outcome(error: SubmitNotSent | SubmitUnclear) -> str:
    return "not_sent" if isinstance(error, SubmitNotSent) else "unclear"
