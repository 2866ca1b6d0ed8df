"""Reads PiAPI's task object, as in responses, callbacks and the history, into an Update."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from service.core.inline import InlineFile, unique
from service.core.result import Failure, Usage
from service.core.task import Status
from service.core.update import Update
from service.providers import documents, known, outputs, reasons, statuses
from service.providers.redact import Cleaner
from service.providers.responses import provider_id

NAME = "PiAPI"
# List pages of the history are not nested deeper.
MAX_LIST_DEPTH = 6
_WRAPPERS = ("data", "task", "result", "payload", "body", "event")
_STATUS_NAMES = ("status", "task_status", "state")
_NUMBER = (int, float)


def task_of(document: Any) -> dict[str, Any] | None:
    """The task in `{"timestamp", "data"}`, `{"code", "data"}` or flat, as an object, a list or a text."""
    if isinstance(document, dict) and isinstance(data := document.get("data"), dict) and data.get("task_id"):
        return data  # as documented
    return next((task for task in _candidates(document, 0) if _id_of(task)), None)


def unnamed_task_of(document: Any) -> dict[str, Any] | None:
    """An object in the place of a task that has no id: the task of a submit that was refused."""
    return next((task for task in _candidates(document, 0) if task is not document and "status" in task), None)


def _candidates(node: Any, depth: int) -> Iterator[dict[str, Any]]:
    if isinstance(node, str) and node.lstrip()[:1] in ("{", "["):
        found = documents.read(node.encode(errors="replace"))
        node = found.value if found else None
    if isinstance(node, list):
        for item in node[:10]:
            yield from _candidates(item, depth + 1)
    if not isinstance(node, dict):
        return
    if depth < 3:
        for name in _WRAPPERS:
            if node.get(name):
                yield from _candidates(node[name], depth + 1)
    yield node


def _id_of(data: dict[str, Any]) -> str | None:
    return provider_id(data.get("task_id")) or provider_id(data.get("taskId"))


def read(data: dict[str, Any], cleaner: Cleaner, model: str = "", repairs: tuple[str, ...] = ()) -> Update:
    """`model` is used where the object does not name its own."""
    word = data.get("status")
    if not isinstance(word, str) or not word.strip():
        others = (data.get(name) for name in _STATUS_NAMES)
        word = next((other for other in others if isinstance(other, str) and other.strip()), None)
    status, documented = statuses.known(word)
    update = Update(
        status=status,
        provider_task_id=_id_of(data),
        provider_status=statuses.shown(word),
        usage=_usage(data),
        inferred=bool(repairs) or not documented,
        warnings=repairs,
    )
    if status is Status.COMPLETED:
        return _completed(update, data, cleaner, model)
    if status is Status.FAILED:
        return replace(update, error=_error(data, cleaner))
    if status is Status.CANCELED:
        return replace(update, error=Failure("canceled", "PiAPI canceled the task"))
    if status is None and word is not None:
        # An unknown status word: what came with it is kept, and the task is checked again.
        read = _with_output(update, data, cleaner, model)
        return replace(read if read.output and read.output.files else update, doubtful=True)
    return update


def callback_dropped(data: dict[str, Any], url: str) -> bool:
    """True when the echoed config lacks our address: PiAPI will not call."""
    config = data.get("config")
    if not isinstance(config, dict):
        return False
    webhook = config.get("webhook_config")
    return not isinstance(webhook, dict) or webhook.get("endpoint") != url


def callback_of(data: dict[str, Any]) -> str | None:
    """The callback address that the task's config echoes."""
    config = data.get("config")
    webhook = config.get("webhook_config") if isinstance(config, dict) else None
    endpoint = webhook.get("endpoint") if isinstance(webhook, dict) else None
    return endpoint if isinstance(endpoint, str) else None


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


def reason_of(data: dict[str, Any]) -> str | None:
    """Why the task failed, from the place that names the cause."""
    return reasons.reason(
        data.get("error"),
        data.get("detail"),
        data.get("task_result"),
        {name: data[name] for name in ("task_status_msg", "error_message", "fail_reason", "reason") if name in data},
        reasons.in_output(_output(data)),
        data.get("message"),
        reasons.last_lines(data.get("logs")),
    )


def _completed(update: Update, data: dict[str, Any], cleaner: Cleaner, model: str) -> Update:
    read = _with_output(update, data, cleaner, model)
    if read.output is not None and (read.output.files or read.output.text):
        return read
    if cause := reasons.in_output(_output(data)):
        error = reasons.provider_failed(NAME, cleaner.text(cause))
        return replace(update, status=Status.FAILED, error=error, inferred=True)
    text = reasons.reason(data.get("error"))
    sentence = "PiAPI says the task is completed, but its output holds no address and no text"
    error = Failure("no_output", sentence, None, cleaner.text(text) if text else None)
    return replace(update, status=Status.FAILED, error=error, inferred=True, doubtful=True)


def _with_output(update: Update, data: dict[str, Any], cleaner: Cleaner, model: str) -> Update:
    files: list[InlineFile] = []
    raw = cleaner.collecting(files).tree(_output(data))
    found = outputs.addresses(raw)
    named = data.get("model")
    return replace(
        update,
        output=outputs.output(found, outputs.text_of(raw, numbers=not found), raw),
        files=unique(files),
        kept_hours=_kept_hours(named if isinstance(named, str) and named else model),
    )


def _output(data: dict[str, Any]) -> Any:
    result = data.get("task_result")
    return data.get("output") or (result.get("task_output") if isinstance(result, dict) else None)


def _kept_hours(model: str) -> int | None:
    hours: int | None = known.models("piapi").get(model, {}).get("kept_hours")
    return hours


def _usage(data: dict[str, Any]) -> Usage | None:
    """What it cost, in the fields of today or of the first API."""
    meta = data.get("meta")
    usage = meta.get("usage") if isinstance(meta, dict) else None
    if isinstance(usage, dict):
        return {name: value for name in ("type", "frozen", "consume") if _plain(value := usage.get(name))} or None
    info, result = data.get("task_info"), data.get("task_result")
    old = {
        "frozen": info.get("frozen_credits") if isinstance(info, dict) else None,
        "consume": result.get("used_credits") if isinstance(result, dict) else None,
    }
    return {name: value for name, value in old.items() if _plain(value)} or None


def _plain(value: Any) -> bool:
    return isinstance(value, _NUMBER) or (isinstance(value, str) and len(value) < 100 and "\x00" not in value)


def _error(data: dict[str, Any], cleaner: Cleaner) -> Failure:
    error, text = data.get("error"), reason_of(data)
    code = error.get("code") if isinstance(error, dict) else None
    shown = provider_id(code) if code and not isinstance(code, dict | list) else None
    return reasons.provider_failed(NAME, cleaner.text(text) if text else None, shown)
