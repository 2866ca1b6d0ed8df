"""Reading the HTTP answers of any provider: JSON or not, the error text wherever it is, what a status means."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from service.core.result import Failure
from service.ports import Busy, ProviderReply, Rejected, Unclear
from service.providers.redact import Cleaner

MAX_MESSAGE = 2_000
MAX_WAIT = 3_600.0
MAX_ID = 200
_TEXT_FIELDS = ("raw_message", "message", "messege", "error", "description", "detail", "error_messages", "tip")
_ADVICE = {
    401: "{name} refused the API key (401); check {setting}",
    402: "The {name} account has no credits left (402); top it up, then resubmit the task",
    403: "The plan of the {name} account does not allow this (403); check the plan and the model",
    404: "{name} does not know this address (404); check the base URL, the model and the task type",
}


def json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def provider_id(value: Any) -> str | None:
    """Ids come as number, string, empty or null."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).replace("\x00", "").strip()[:MAX_ID] or None


def error_text(node: Any) -> str | None:
    """The most telling text of an error in any of the forms seen; objects and lists of messages are joined."""
    return _error_text(node, 0)


def _error_text(node: Any, depth: int) -> str | None:
    if depth > 4:
        return None
    if isinstance(node, str):
        return node.strip()[:MAX_MESSAGE] or None
    if isinstance(node, list):
        return "; ".join(text for item in node[:5] if (text := _error_text(item, depth + 1)))[:MAX_MESSAGE] or None
    if not isinstance(node, dict):
        return None
    for name in _TEXT_FIELDS:
        if text := _error_text(node.get(name), depth + 1):
            return text
    # An object of field errors: {"prompt": ["The prompt field is required."]}
    nested = (_error_text(value, depth + 1) for value in node.values() if isinstance(value, list | dict))
    return next((text for text in nested if text), None)


def message_of(reply: ProviderReply, cleaner: Cleaner) -> str | None:
    """What the answer says about its error, cleaned; the beginning of the text when it is no JSON."""
    document = json_object(reply.body)
    if document is not None:
        found = error_text(document)
    else:
        found = reply.body[:300].decode(errors="replace").strip() or None
    return cleaner.text(found) if found else None


def rejected(name: str, setting: str, status: int, message: str | None, code: int | None) -> Rejected:
    """`provider_rejected` with what to do about it, going by `status`; `code` is what the provider itself said."""
    advice = _ADVICE.get(status, "{name} did not take the task").format(name=name, setting=setting)
    sentence = advice if status in _ADVICE or not message else f"{advice}: {message}"
    return Rejected(Failure("provider_rejected", sentence, None if code is None else str(code), message))


def busy(reply: ProviderReply, body: dict[str, Any] | None = None) -> Busy:
    """How long to wait: `Retry-After` in seconds or as a date, or `retry_after` of the body."""
    header = next((value for name, value in reply.headers.items() if name.lower() == "retry-after"), None)
    wait = _seconds(header, reply.received_at)
    if wait is None and body is not None:
        wait = _seconds(body.get("retry_after"), reply.received_at)
    return Busy(None if wait is None else min(max(wait, 0.0), MAX_WAIT))


def unclear(name: str, status: int) -> Unclear:
    return Unclear(f"{name} answered {status}: it may have the task or not")


def _seconds(value: Any, now: int) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        wait = float(value)
    except ValueError:
        return _until(str(value), now)
    return wait if wait == wait else None


def _until(date: str, now: int) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now / 1000
