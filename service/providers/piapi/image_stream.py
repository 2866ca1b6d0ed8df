"""Collects a response of the Images API, streamed or plain. Its pictures come inline, and nothing at the provider could
be fetched again."""

from typing import Any

from service.core.inline import InlineFile, unique
from service.core.result import Failure, Progress, Usage
from service.core.task import Status
from service.core.update import Update
from service.providers import inline, outputs, reasons
from service.providers.event_stream import ENDS, Payloads
from service.providers.piapi.errors import error_of
from service.providers.redact import Cleaner

_LISTS = ("data", "images", "output", "results")
_BESIDE = ("usage", "created", "error", "code", "message")
MAX_PICTURES = 100


class ImageReader:
    def __init__(self, cleaner: Cleaner) -> None:
        self._files: list[InlineFile] = []
        self._cleaner = cleaner.collecting(self._files)
        self._payloads = Payloads()
        # As they came: they are decoded at the end, apart from the event loop.
        self._items: list[dict[str, Any]] = []
        self._previews = 0
        self._usage: Usage | None = None
        self._error: Any = None
        self._ended = False

    def feed(self, chunk: bytes) -> Update | None:
        before = self._previews, len(self._items)
        for payload in self._payloads.feed(chunk):
            self._take(payload)
        if (self._previews, len(self._items)) == before:
            return None
        return Update(Status.PROCESSING, progress=Progress(previews=self._previews, pictures=len(self._items)))

    def text_so_far(self) -> str:
        return ""

    def finish(self, complete: bool) -> Update:
        for payload in self._payloads.rest():
            self._take(payload)
        found = [picture for number, item in enumerate(self._items) for picture in self._pictures(number, item)]
        if found:
            # A picture that came whole is paid for, whatever happened to the line after it.
            return self._completed(found)
        if self._error is not None:
            return self._failed("provider_failed", "The model could not make the picture", reasons.reason(self._error))
        if not (complete or self._ended):
            return self._failed("stream_interrupted", "The line to PiAPI broke before the picture was complete", None)
        if any(item.get("b64_json") for item in self._items) or self._payloads.too_large:
            limit = f"{inline.MAX_BYTES // 1024 // 1024} MB"
            sentence = f"The picture is no PNG, JPEG, WebP or GIF, or is larger than {limit}"
            return self._failed("no_output", sentence, None)
        return self._failed("no_output", "The model answered without a picture", None)

    def _take(self, payload: object) -> None:
        if isinstance(payload, str) and payload in ENDS:
            self._ended = True
        if not isinstance(payload, dict):
            return
        if isinstance(payload.get("usage"), dict):
            self._usage = payload["usage"]
        if (error := error_of(payload)) is not None:
            self._error = error
            return
        kind = payload.get("type")
        if isinstance(kind, str) and kind.endswith(".partial_image"):
            # A preview is no result, and not worth keeping.
            self._previews += 1
            return
        for item in _items_of(payload):
            if len(self._items) < MAX_PICTURES:
                self._items.append(item)

    def _pictures(self, number: int, item: dict[str, Any]) -> list[outputs.Found]:
        found = outputs.addresses(self._cleaner.tree(item), "image")
        return [outputs.Found(one.url, f"data.{number}.{one.path}", one.kind) for one in found]

    def _completed(self, found: list[outputs.Found]) -> Update:
        usage = self._cleaner.tree(self._usage)
        raw = {"data": [{"url": picture.url} for picture in found], "usage": usage}
        return Update(
            Status.COMPLETED,
            output=outputs.output(found, None, raw),
            usage=usage,
            files=unique(self._files),
            warnings=self._warnings(),
        )

    def _failed(self, code: str, sentence: str, text: str | None) -> Update:
        said = self._cleaner.text(text) if text else None
        whole = f"{sentence}: {said}" if said else sentence
        error = Failure(code, whole, None, said)
        return Update(Status.FAILED, error=error, usage=self._usage, warnings=self._warnings())

    def _warnings(self) -> tuple[str, ...]:
        return tuple(self._cleaner.text(text) for text in self._payloads.warnings)


def _items_of(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """The pictures that a payload lists, or the payload itself when it is one."""
    for name in _LISTS:
        value = payload.get(name)
        if isinstance(value, dict):
            value = [value]
        if isinstance(value, list) and value:
            return [item if isinstance(item, dict) else {"url": item} for item in value]
    item = {name: value for name, value in payload.items() if name not in _BESIDE}
    return [item] if item.get("b64_json") or item.get("url") or item.get("image_url") else []
