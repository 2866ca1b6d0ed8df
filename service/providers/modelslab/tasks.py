"""ModelsLab's answers, fetches and callbacks, which share one loose form: read into an Update."""

import re
from typing import Any

from msgspec.structs import replace

from service.core.inline import InlineFile
from service.core.result import Failure
from service.core.task import Status, Update
from service.providers import outputs, statuses
from service.providers.redact import Cleaner
from service.providers.replies import error_text, provider_id

KEPT_HOURS = 24
# `future_links` are promises and `meta` holds the input: only these hold results, the second the same ones elsewhere.
RESULTS = ("output", "proxy_links")
_BUSY = ("rate limit", "queued requests", "too many requests")
# Texts of a lookup that failed; they say nothing about the task.
_LOOKUP = ("request not found", "api key", "rate limit", "too many", "invalid api request")
_CODES = ((r"api key", 401), (r"credit|balance", 402), (r"\b(subscription|plan)\b", 403))


def is_task(document: dict[str, Any]) -> bool:
    return any(name in document for name in ("status", "id", "output", "track_id"))


def is_busy(document: dict[str, Any]) -> bool:
    """Too much in the queue, which may come with HTTP 200."""
    return statuses.status_of(document.get("status")) is Status.FAILED and _says(document, _BUSY)


def is_about_task(document: dict[str, Any]) -> bool:
    """False when only the lookup failed: unknown id, other family, already removed, no access."""
    if not is_task(document):
        return False
    if statuses.status_of(document.get("status")) is not Status.FAILED:
        return True
    if _says(document, _LOOKUP):
        return False
    named = provider_id(document.get("id")) is not None
    refused = (statuses.shown(document.get("status")) or "").lower() == "error"
    return named or not (refused or _says(document, ("not found",)))


def read(document: dict[str, Any], cleaner: Cleaner) -> Update:
    status = statuses.status_of(document.get("status"))
    took = document.get("generationTime")
    update = Update(
        status=status,
        provider_task_id=provider_id(document.get("id")),
        provider_status=statuses.shown(document.get("status")),
        usage={"generationTime": took} if _is_number(took) else None,
    )
    if status is Status.COMPLETED:
        return _completed(update, document, cleaner)
    if status is Status.FAILED:
        text = error_text(document)
        text = cleaner.text(text) if text else None
        sentence = (
            f"ModelsLab could not do the task: {text}" if text else "ModelsLab could not do the task and gave no reason"
        )
        return replace(update, error=Failure("provider_failed", sentence, None, text))
    return update


def submitted(update: Update) -> Update:
    return replace(update, status=Status.SUBMITTED)


def code_of(message: str | None) -> int:
    """The HTTP status that an error with HTTP 200 should have had."""
    text = (message or "").lower()
    return next((code for words, code in _CODES if re.search(words, text)), 400)


def _completed(update: Update, document: dict[str, Any], cleaner: Cleaner) -> Update:
    files: list[InlineFile] = []
    raw = cleaner.collecting(files).tree(
        {name: value for name, value in document.items() if name not in ("future_links", "fetch_result")}
    )
    found = next(filter(None, (outputs.addresses({name: raw.get(name)}, "image") for name in RESULTS)), [])
    if not found:
        sentence = "ModelsLab says the task is done, but its output is empty"
        return replace(update, status=Status.FAILED, error=Failure("no_output", sentence))
    return replace(update, output=outputs.output(found, None, raw), files=tuple(files), kept_hours=KEPT_HOURS)


def _says(document: dict[str, Any], words: tuple[str, ...]) -> bool:
    text = (error_text(document) or "").lower()
    return any(word in text for word in words)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
