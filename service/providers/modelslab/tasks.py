"""Reads ModelsLab's responses and callbacks, which share one loose format, into an Update."""

import re
from typing import Any

from msgspec.structs import replace

from service.core.inline import InlineFile, unique
from service.core.result import Failure
from service.core.task import Status
from service.core.update import Update
from service.providers import documents, outputs, reasons, statuses
from service.providers.documents import Document
from service.providers.redact import Cleaner
from service.providers.responses import provider_id

NAME = "ModelsLab"
KEPT_HOURS = 24
# `future_links` are promises and `meta` holds the input: only these hold results, the later ones the same elsewhere.
RESULTS = (
    "output",
    "outputs",
    "images",
    "links",
    "proxy_links",
    "image",
    "image_url",
    "url",
    "result",
    "video",
    "audio",
)
_FACTS = ("status", "id", "output", "track_id", "request_id", "fetch_result", "links")
_PROMISES = ("future_links", "fetch_result")
_BUSY = ("rate limit", "queued requests", "too many requests")
# Texts of a failed lookup; they say nothing about the task.
_LOOKUP = ("request not found", "api key", "rate limit", "too many", "invalid api request", "unauthorized")
_CODES = (
    (r"api key|unauthori[sz]ed|unauthenticated|invalid key|invalid token", 401),
    (r"credit|balance|insufficient|top up|payment", 402),
    (r"\b(subscription|plan)\b|forbidden", 403),
)


def task_of(document: Document | None) -> dict[str, Any] | None:
    """The object that speaks of a task: the body itself, or what it wraps as `data`."""
    if document is None:
        return None
    value = document.value
    inner = value.get("data")
    if isinstance(inner, str) and (text := documents.read(inner.encode(errors="replace"))):
        inner = text.value
    if isinstance(inner, list) and len(inner) == 1:
        inner = inner[0]
    if isinstance(inner, dict) and not _is_task(value) and _is_task(inner):
        return {**{name: value[name] for name in ("track_id", "message") if name in value}, **inner}
    return value if _is_task(value) else None


def _is_task(value: dict[str, Any]) -> bool:
    return any(name in value for name in _FACTS)


def status_word(task: dict[str, Any]) -> Any:
    return next((task[name] for name in ("status", "state", "task_status") if isinstance(task.get(name), str)), None)


def is_busy(task: dict[str, Any]) -> bool:
    """Too much in the queue, which may come with HTTP 200."""
    return statuses.status_of(status_word(task)) is Status.FAILED and _says(task, _BUSY)


def is_about_task(task: dict[str, Any]) -> bool:
    """False when only the lookup failed: unknown id, other family, already removed, no access."""
    if statuses.status_of(status_word(task)) is not Status.FAILED:
        return True
    if _says(task, _LOOKUP):
        return False
    named = provider_id(task.get("id")) is not None
    refused = (statuses.shown(status_word(task)) or "").lower() == "error"
    return named or not (refused or _says(task, ("not found",)))


def id_of(task: dict[str, Any]) -> str | None:
    """Where `id` is missing, `request_id` or the end of `fetch_result` names the task."""
    for name in ("id", "request_id"):
        if found := provider_id(task.get(name)):
            return found
    address = task.get("fetch_result")
    if not isinstance(address, str):
        return None
    return provider_id(address.partition("?")[0].rstrip("/").rpartition("/")[2])


def read(task: dict[str, Any], cleaner: Cleaner, repairs: tuple[str, ...] = ()) -> Update:
    word = status_word(task)
    status, documented = statuses.known(word)
    took = task.get("generationTime")
    update = Update(
        status=status,
        provider_task_id=id_of(task),
        provider_status=statuses.shown(word),
        usage={"generationTime": took} if _is_number(took) else None,
        inferred=bool(repairs) or not documented,
        warnings=repairs,
    )
    if status is Status.COMPLETED:
        return _completed(update, task, cleaner)
    if status is Status.FAILED:
        text = reason_of(task)
        return replace(update, error=reasons.provider_failed(NAME, cleaner.text(text) if text else None))
    if status is Status.CANCELED:
        return replace(update, error=Failure("canceled", "ModelsLab canceled the task"))
    if status is None and isinstance(word, str) and word.strip():
        return _unknown(update, task, cleaner)
    return update


def reason_of(task: dict[str, Any]) -> str | None:
    return reasons.reason(task, reasons.in_output(task.get("output")), reasons.last_lines(task.get("logs")))


def submitted(update: Update) -> Update:
    return replace(update, status=Status.SUBMITTED)


def code_of(message: str | None) -> int:
    """The HTTP status that an error with HTTP 200 should have had."""
    text = (message or "").lower()
    return next((code for words, code in _CODES if re.search(words, text)), 400)


def _completed(update: Update, task: dict[str, Any], cleaner: Cleaner) -> Update:
    read = _with_output(update, task, cleaner)
    if read.output is not None and (read.output.files or read.output.text):
        return read
    if cause := reasons.in_output({name: task.get(name) for name in RESULTS}):
        error = reasons.provider_failed(NAME, cleaner.text(cause))
        return replace(update, status=Status.FAILED, error=error, inferred=True)
    sentence = "ModelsLab says the task is done, but its output is empty"
    error = Failure("no_output", sentence)
    return replace(update, status=Status.FAILED, error=error, inferred=True, doubtful=True)


def _unknown(update: Update, task: dict[str, Any], cleaner: Cleaner) -> Update:
    """An unknown status word: what came with it is kept, and the task is checked again."""
    read = _with_output(update, task, cleaner)
    return replace(read if read.output and read.output.files else update, doubtful=True)


def _with_output(update: Update, task: dict[str, Any], cleaner: Cleaner) -> Update:
    files: list[InlineFile] = []
    raw = cleaner.collecting(files).tree({name: value for name, value in task.items() if name not in _PROMISES})
    found = next(filter(None, (outputs.addresses({name: raw.get(name)}, "image") for name in RESULTS)), [])
    text = None if found else next(filter(None, (outputs.text_of(raw.get(name), True) for name in RESULTS)), None)
    return replace(update, output=outputs.output(found, text, raw), files=unique(files), kept_hours=KEPT_HOURS)


def _says(task: dict[str, Any], words: tuple[str, ...]) -> bool:
    text = (reason_of(task) or "").lower()
    return any(word in text for word in words)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
