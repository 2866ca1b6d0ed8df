"""Why a task failed at the provider: the most specific text in its response."""

from collections.abc import Iterator
from typing import Any

from service.core.result import Failure
from service.providers import strings

MAX_TEXT = 2_000
MAX_ITEMS = 5
MAX_DEPTH = 6
_MAX_NODES = 500
# The general text of an error, the most specific name first; and what is said beside it.
_HEADS = (
    *("raw_message", "message", "messege", "msg", "error_message", "errorMessage", "error_msg", "err_msg", "error"),
    *("task_status_msg", "status_msg", "fail_reason", "failure_reason", "failReason", "description", "reason"),
    *("error_messages", "refusal", "tip"),
)
_DETAILS = ("detail", "details", "errors", "error_detail", "validation_errors", "field_errors")
_PLACES = ("loc", "field", "param", "path", "property")
# Where the parts of an output tell of their own failure.
_IN_OUTPUT = (
    *("task_status_msg", "status_msg", "error", "errors", "error_message", "error_msg", "errorMessage"),
    *("fail_reason", "failure_reason", "failReason", "error_detail"),
)
# Words that name no cause.
_EMPTY = frozenset(
    (
        *("success", "successful", "ok", "done", "completed", "none", "null", "true", "false", "0", "n/a", "{}", "[]"),
        *("failed", "fail", "failure", "error", "errored", "rejected", "task failed", "task error", "unknown"),
        *("unknown error", "internal error", "an error occurred", "something went wrong", "failed to complete"),
        *("generation failed", "request failed", "job failed", "processing failed"),
    )
)
_NO_ERROR = frozenset(("success", "successful", "ok", "done", "completed", "none", "null", "true", "false", "0", "n/a"))


def reason(*nodes: Any) -> str | None:
    """The first text that names a cause; else the first that at least says that something failed."""
    weak: str | None = None
    for node in nodes:
        text = _text(node, 0)
        if text is None:
            continue
        if _names_cause(text):
            return text
        if weak is None and _bare(text) not in _NO_ERROR:
            weak = text
    return weak


def in_output(output: Any) -> str | None:
    """Failure reasons inside the parts of an output: clips, works, a nested task."""
    return next((text for text in _told(output) if _names_cause(text)), None)


def last_lines(logs: Any) -> str | None:
    """The end of a log, which may be the only place that names the cause."""
    if isinstance(logs, str):
        logs = [line for line in logs[-MAX_TEXT:].splitlines() if line.strip()]
    if not isinstance(logs, list):
        return None
    lines = [text for item in logs[-3:] if (text := _text(item, 0))]
    return "\n".join(lines)[-MAX_TEXT:] or None


def provider_failed(name: str, text: str | None, code: str | None = None) -> Failure:
    said = text is not None and _names_cause(text)
    sentence = f"{name} could not do the task: {text}" if said else f"{name} could not do the task and gave no reason"
    return Failure("provider_failed", sentence, code, text)


def _names_cause(text: str) -> bool:
    return _bare(text) not in _EMPTY


def _bare(text: str) -> str:
    return text[:100].strip(" .!:\n\t").casefold()


def _text(node: Any, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return None
    if isinstance(node, str):
        return _of_string(node, depth)
    if isinstance(node, list):
        found = dict.fromkeys(text for item in node[:MAX_ITEMS] if (text := _text(item, depth + 1)))
        return "; ".join(found)[:MAX_TEXT] or None
    return _of_object(node, depth) if isinstance(node, dict) else None


def _of_string(text: str, depth: int) -> str | None:
    text = text.strip()
    if text[:1] in ("{", "[") and len(text) < 16 * MAX_TEXT and (inner := strings.parsed(text)) is not None:
        return _text(inner, depth + 1) or text[:MAX_TEXT]
    if text[:1] == "<" and is_page(text):
        return page_title(text)
    return text[:MAX_TEXT] or None


def _of_object(node: dict[str, Any], depth: int) -> str | None:
    head = _best(node, _HEADS, depth)
    details = _best(node, _DETAILS, depth)
    if head is None and details is None:
        # Errors by field: {"prompt": ["The prompt field is required."]}
        return _by_field(node, depth)
    if details is not None and head is not None and _names_cause(head) and _names_cause(details):
        text = head if details in head else f"{head.rstrip(' .:')}: {details}"
    else:
        text = details if details is not None and (head is None or not _names_cause(head)) else head or ""
    place = next((shown for name in _PLACES if (shown := _place(node.get(name)))), None)
    return (f"{place}: {text}" if place and place not in text else text)[:MAX_TEXT] or None


def _best(node: dict[str, Any], names: tuple[str, ...], depth: int) -> str | None:
    weak: str | None = None
    for name in names:
        if node.get(name) and (text := _text(node[name], depth + 1)):
            if _names_cause(text):
                return text
            weak = weak or text
    return weak


def _by_field(node: dict[str, Any], depth: int) -> str | None:
    told = []
    for name, value in list(node.items())[:20]:
        if isinstance(value, list | dict) and (text := _text(value, depth + 1)):
            told.append(f"{name[:100]}: {text}")
    return "; ".join(told[:MAX_ITEMS])[:MAX_TEXT] or None


def _place(value: Any) -> str | None:
    if isinstance(value, list):
        value = ".".join(str(part) for part in value[:6] if isinstance(part, str | int))
    return value[:100] if isinstance(value, str) and value else None


def _told(output: Any) -> Iterator[str]:
    level, seen = [output], 0
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            seen += 1
            if seen > _MAX_NODES:
                return
            if isinstance(node, dict):
                yield from (text for name in _IN_OUTPUT if node.get(name) and (text := _text(node[name], 0)))
                below += node.values()
            elif isinstance(node, list):
                below += node[:_MAX_NODES]
        level = below


# --- web pages in place of a response ---


def is_page(text: str) -> bool:
    """An HTML page, as firewalls and proxies send it."""
    begun = text[:1_000].lstrip().lower()
    return begun.startswith(("<!doctype", "<html", "<head", "<body", "<?xml")) or "<html" in begun


def page_title(text: str) -> str | None:
    lowered = text[:20_000].lower()
    start = lowered.find("<title")
    start = lowered.find(">", start) + 1 if start >= 0 else -1
    end = lowered.find("</title", start) if start > 0 else -1
    return strings.plain(text[start:end]) or None if end > 0 else None
