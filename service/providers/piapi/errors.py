"""Errors of the LLM routes, which come in the body with any status."""

from typing import Any

from service.core.task import Status
from service.providers import reasons, statuses

_RESULTS = ("choices", "data", "output", "images", "delta")


def error_of(payload: dict[str, Any]) -> Any:
    """What tells of an error in a response or in one event of a stream; None when there is none."""
    if payload.get("error"):
        return payload["error"]
    if payload.get("type") == "error":
        return payload
    if any(payload.get(name) for name in _RESULTS):
        return None
    code = payload.get("code")
    failed = isinstance(code, int) and code not in (0, 200)
    failed = failed or payload.get("success") is False or statuses.status_of(payload.get("status")) is Status.FAILED
    told = any(payload.get(name) for name in ("detail", "errors", "error_message", "description"))
    return payload if failed or (told and reasons.reason(payload)) else None
