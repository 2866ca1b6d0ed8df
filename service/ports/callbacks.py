"""The audit log of callbacks."""

from typing import Any, Protocol

from msgspec import Struct


class ReceivedCallback(Struct, frozen=True):
    """One request to a callback address. `body` is redacted and truncated already."""

    provider: str
    task_id: str | None
    result: str
    status_code: int
    detail: str | None = None
    body: str | None = None


class CallbackLog(Protocol):
    async def add(self, callback: ReceivedCallback) -> None: ...

    async def find(
        self, result: str | None, task_id: str | None, before: int | None, limit: int
    ) -> list[dict[str, Any]]: ...
