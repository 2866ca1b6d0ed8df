"""Collects an answer of the Images API, streamed or plain. The pictures come inline: they are saved before the task
is said to be completed, since nothing at the provider could be fetched again."""

from typing import Any

from service.core.inline import InlineFile, inline_file
from service.core.result import Failure, Progress, Usage
from service.core.task import Status, Update
from service.providers import outputs, pictures, replies
from service.providers.redact import Cleaner
from service.providers.sse import ENDS, Payloads


class ImageReader:
    def __init__(self, cleaner: Cleaner) -> None:
        self._cleaner = cleaner
        self._files: list[InlineFile] = []
        self._payloads = Payloads()
        self._found: list[outputs.Found] = []
        self._previews = 0
        self._unreadable = 0
        self._usage: Usage | None = None
        self._error: Any = None
        self._ended = False

    def feed(self, chunk: bytes) -> Update | None:
        before = self._previews, len(self._found)
        for payload in self._payloads.feed(chunk):
            self._take(payload)
        if (self._previews, len(self._found)) == before:
            return None
        progress = Progress(previews=self._previews, pictures=len(self._found))
        return Update(status=Status.PROCESSING, progress=progress)

    def finish(self, complete: bool) -> Update:
        for payload in self._payloads.rest():
            self._take(payload)
        if self._found:
            # A picture that came whole is paid for, whatever happened to the line after it.
            return self._completed()
        if self._error is not None:
            text = replies.error_text(self._error)
            return self._failed("provider_failed", "The model could not make the picture", text)
        if not (complete or self._ended):
            return self._failed("stream_interrupted", "The line to PiAPI broke before the picture was complete", None)
        if self._unreadable or self._payloads.too_large:
            limit = f"{pictures.MAX_BYTES // 1024 // 1024} MB"
            sentence = f"The picture is no PNG, JPEG, WebP or GIF, or is larger than {limit}"
            return self._failed("no_output", sentence, None)
        return self._failed("no_output", "The model answered without a picture", None)

    def _take(self, payload: object) -> None:
        if isinstance(payload, str) and payload in ENDS:
            self._ended = True
        if not isinstance(payload, dict):
            return
        if payload.get("error"):
            self._error = payload["error"]
        elif payload.get("type") == "error":
            self._error = payload
        if isinstance(payload.get("usage"), dict):
            self._usage = payload["usage"]
        kind = payload.get("type")
        if isinstance(kind, str) and kind.endswith(".partial_image"):
            # A preview is no result, and not worth keeping.
            self._previews += 1
            return
        data = payload.get("data")
        for item in data if isinstance(data, list) else [payload]:
            if isinstance(item, dict):
                self._keep(item)

    def _keep(self, item: dict[str, Any]) -> None:
        inline, url = item.get("b64_json"), item.get("url")
        path = f"data.{len(self._found)}"
        if isinstance(inline, str) and inline:
            decoded = pictures.decode(inline)
            if decoded is None:
                self._unreadable += 1
            else:
                file = inline_file(*decoded)
                self._files.append(file)
                self._found.append(outputs.Found(file.placeholder, f"{path}.b64_json", "image"))
        elif outputs.is_address(url):
            self._found.append(outputs.Found(str(url), f"{path}.url", "image"))

    def _completed(self) -> Update:
        usage = self._cleaner.tree(self._usage)
        raw = {"data": [{"url": found.url} for found in self._found], "usage": usage}
        output = outputs.output(self._found, None, raw)
        return Update(status=Status.COMPLETED, output=output, usage=usage, files=tuple(self._files))

    def _failed(self, code: str, sentence: str, text: str | None) -> Update:
        said = self._cleaner.text(text) if text else None
        whole = f"{sentence}: {said}" if said else sentence
        return Update(status=Status.FAILED, error=Failure(code, whole, None, said), usage=self._usage)
