"""A task's files and text for the pages, and its running time compared with others of its model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.core.task import Task
from service.web.page.words import percentile

# With fewer results a model's usual time says nothing.
ENOUGH = 3
PLAYED = ("image", "video", "audio")


@dataclass(frozen=True, slots=True)
class Run:
    """`since`, in ms, is when it was accepted; `usual` and `slow` (median and p90) are durations in ms."""

    since: int
    usual: float | None
    slow: float | None


@dataclass(frozen=True, slots=True)
class ShownFile:
    url: str
    kind: str
    expires_at: str | None


def run_of(task: Task, times: Sequence[int]) -> Run:
    if len(times) < ENOUGH:
        return Run(task.created_at, None, None)
    return Run(task.created_at, percentile(times, 0.5), percentile(times, 0.9))


def files_of(task: Task) -> list[ShownFile]:
    """Of a finished task its output, of a running one the pictures so far. Only web addresses."""
    document = task.document()
    output: dict[str, Any] = document["output"] or document["progress"] or {}
    listed = output.get("files") or [{"url": url, "kind": "image"} for url in output.get("urls") or ()]
    files = []
    for item in listed:
        # Our copy outlives the provider's file.
        copy = item.get("copy") or {}
        stored = copy.get("status") == "stored"
        url = web_address(copy.get("url") if stored else item.get("url"))
        if url is not None:
            kind = item.get("kind")
            files.append(
                ShownFile(url, kind if kind in PLAYED else "other", None if stored else item.get("expires_at"))
            )
    return files


def first_file(task: Task) -> ShownFile | None:
    return next(iter(files_of(task)), None)


def text_of(task: Task) -> str | None:
    document = task.document()
    output: dict[str, Any] = document["output"] or document["progress"] or {}
    text = output.get("text")
    return text if isinstance(text, str) and text else None


def web_address(text: Any) -> str | None:
    """Only http and https become links and pictures: a provider may send any text."""
    return text if isinstance(text, str) and text.lower().startswith(("http://", "https://")) else None
