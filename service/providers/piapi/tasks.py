"""PiAPI's task object, in the answers, in get-task, in callbacks and in the history: read into an Update."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from service.core.inline import InlineFile
from service.core.result import Failure, Usage
from service.core.task import Status, Update
from service.providers import known, outputs, statuses
from service.providers.redact import Cleaner
from service.providers.replies import error_text, provider_id

# Whom a lost answer is looked for in the history: not deeper than any list page is nested.
MAX_LIST_DEPTH = 6


def task_of(document: Any) -> dict[str, Any] | None:
    """The task in `{"timestamp", "data"}`, `{"code", "data"}` or flat; None when there is none."""
    if not isinstance(document, dict):
        return None
    for candidate in (document.get("data"), document):
        if isinstance(candidate, dict) and provider_id(candidate.get("task_id")):
            return candidate
    return None


def read(data: dict[str, Any], cleaner: Cleaner, model: str = "") -> Update:
    """`model` is used where the object does not name its own."""
    status = statuses.status_of(data.get("status"))
    update = Update(
        status=status,
        provider_task_id=provider_id(data.get("task_id")),
        provider_status=statuses.shown(data.get("status")),
        usage=_usage(data),
    )
    if status is Status.COMPLETED:
        return _completed(update, data, cleaner, model)
    if status is Status.FAILED:
        return replace(update, error=_error(data, cleaner))
    if status is Status.CANCELED:
        return replace(update, error=Failure("canceled", "PiAPI canceled the task"))
    return update


def callback_dropped(data: dict[str, Any], url: str) -> bool:
    """True when the echoed config lacks our address: PiAPI will not call."""
    config = data.get("config")
    if not isinstance(config, dict):
        return False
    webhook = config.get("webhook_config")
    return not isinstance(webhook, dict) or webhook.get("endpoint") != url


def tasks_in(node: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every task object in a page of the history, however it is wrapped."""
    if depth > MAX_LIST_DEPTH:
        return
    if isinstance(node, dict):
        if provider_id(node.get("task_id")):
            yield node
        else:
            for value in node.values():
                yield from tasks_in(value, depth + 1)
    elif isinstance(node, list):
        for item in node:
            yield from tasks_in(item, depth + 1)


def _completed(update: Update, data: dict[str, Any], cleaner: Cleaner, model: str) -> Update:
    files: list[InlineFile] = []
    raw = cleaner.collecting(files).tree(_output(data))
    found, text = outputs.addresses(raw), outputs.text_of(raw)
    if not found and not text:
        sentence = "PiAPI says the task is completed, but its output holds no address and no text"
        return replace(
            update, status=Status.FAILED, error=Failure("no_output", sentence, None, error_text(data.get("error")))
        )
    named = data.get("model")
    return replace(
        update,
        output=outputs.output(found, text, raw),
        files=tuple(files),
        kept_hours=_kept_hours(named if isinstance(named, str) and named else model),
    )


def _output(data: dict[str, Any]) -> Any:
    result = data.get("task_result")
    return data.get("output") or (result.get("task_output") if isinstance(result, dict) else None)


def _kept_hours(model: str) -> int | None:
    hours: int | None = known.models("piapi").get(model, {}).get("kept_hours")
    return hours


def _usage(data: dict[str, Any]) -> Usage | None:
    meta = data.get("meta")
    usage = meta.get("usage") if isinstance(meta, dict) else None
    if isinstance(usage, dict):
        return {name: usage[name] for name in ("type", "frozen", "consume") if _plain(usage.get(name))} or None
    info, result = data.get("task_info"), data.get("task_result")
    old = {
        "frozen": info.get("frozen_credits") if isinstance(info, dict) else None,
        "consume": result.get("used_credits") if isinstance(result, dict) else None,
    }
    return {name: value for name, value in old.items() if _plain(value)} or None


def _plain(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) < 100 and "\x00" not in value)


def _error(data: dict[str, Any], cleaner: Cleaner) -> Failure:
    error, result = data.get("error"), data.get("task_result")
    text = (
        error_text(error) or error_text(result if isinstance(result, dict) else None) or error_text(data.get("detail"))
    )
    text = cleaner.text(text) if text else None
    code = error.get("code") if isinstance(error, dict) else None
    sentence = f"PiAPI could not do the task: {text}" if text else "PiAPI could not do the task and gave no reason"
    return Failure("provider_failed", sentence, provider_id(code) if code else None, text)
