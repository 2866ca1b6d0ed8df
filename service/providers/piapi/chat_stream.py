"""Collects the stream of a chat completion: the whole text first, conclusions at the end."""

import re
from typing import Any

from service.core.inline import InlineFile
from service.core.result import Failure, Progress, Usage
from service.core.task import Status, Update
from service.providers import outputs, pictures, replies, texts
from service.providers.redact import Cleaner
from service.providers.sse import ENDS, Payloads

MAX_TEXT = 16 * 1024 * 1024
TAIL = 200


class ChatReader:
    """`pictures` says that the answer is meant to hold a picture; `given` are the addresses of the question."""

    def __init__(self, cleaner: Cleaner, pictures: bool, given: frozenset[str]) -> None:
        self._cleaner = cleaner
        self._files: list[InlineFile] = []
        self._pictures = pictures
        self._given = given
        self._payloads = Payloads()
        self._choices: dict[int, Choice] = {}
        self._head: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._error: Any = None
        self._ended = False
        self._length = 0
        self._tail = ""
        self._told: Progress | None = None

    def feed(self, chunk: bytes) -> Update | None:
        for payload in self._payloads.feed(chunk):
            self._take(payload)
        percent = texts.percent(self._tail) if self._pictures else None
        progress = Progress(self._length, percent)
        if not self._length or progress == self._told:
            return None
        self._told = progress
        return Update(status=Status.PROCESSING, progress=progress)

    def finish(self, complete: bool) -> Update:
        for payload in self._payloads.rest():
            self._take(payload)
        if self._error is not None:
            return self._failed("provider_failed", "The model answered with an error", replies.error_text(self._error))
        if not (complete or self._ended):
            return self._failed(
                "stream_interrupted", "The line to PiAPI broke before the answer was complete", self._text
            )
        if self._payloads.too_large or self._length > MAX_TEXT:
            return self._failed("no_output", "The answer was larger than the service takes", None)
        return self._with_pictures() if self._pictures else self._with_text()

    @property
    def _text(self) -> str:
        first = min(self._choices, default=0)
        return self._choices[first].text if self._choices else ""

    def _take(self, payload: object) -> None:
        if isinstance(payload, str) and payload in ENDS:
            self._ended = True
        if not isinstance(payload, dict):
            return
        if payload.get("error"):
            self._error = payload["error"]
        for name in ("id", "created", "model"):
            if isinstance(payload.get(name), str | int):
                self._head[name] = payload[name]
        if isinstance(payload.get("usage"), dict):
            self._usage = payload["usage"]
        choices = payload.get("choices")
        for piece in choices if isinstance(choices, list) else []:
            if isinstance(piece, dict):
                self._add(piece)

    def _add(self, piece: dict[str, Any]) -> None:
        index = piece.get("index")
        choice = self._choices.setdefault(index if isinstance(index, int) else 0, Choice())
        new = choice.add(piece)
        if choice.reason:
            self._ended = True
        if self._length <= MAX_TEXT:
            self._length += len(new)
            self._tail = (self._tail + new)[-TAIL:]

    def _with_text(self) -> Update:
        answered = [choice for choice in self._choices.values() if choice.text or choice.calls]
        if not answered:
            return self._failed("no_output", "The model answered nothing", None)
        return self._completed(self._text, [])

    def _with_pictures(self) -> Update:
        text = self._lifted(self._text)
        found = texts.pictures(text, self._given)
        if texts.failed(text, bool(found)):
            return self._failed("provider_failed", "The model could not make the picture", text)
        found = found or texts.last_resort(text, self._given)
        if not found:
            return self._failed("no_output", "The model answered without a picture", text)
        return self._completed(text, found)

    def _lifted(self, text: str) -> str:
        """Pictures written into the text as base64 become addresses."""

        def lift(match: re.Match[str]) -> str:
            file = pictures.inline(match.group())
            if file is None:
                return ""
            self._files.append(file)
            return file.placeholder

        return texts.INLINE.sub(lift, text)

    def _completed(self, text: str, found: list[outputs.Found]) -> Update:
        usage = self._cleaner.tree(self._usage)
        choices = [
            {"index": index, "message": choice.message(), "finish_reason": choice.reason}
            for index, choice in sorted(self._choices.items())
        ]
        raw = {**self._head, "choices": choices, "usage": usage}
        output = outputs.output(found, self._cleaner.text(text, MAX_TEXT) or None, self._cleaner.tree(raw))
        return Update(status=Status.COMPLETED, output=output, usage=usage, files=tuple(self._files))

    def _failed(self, code: str, sentence: str, text: str | None) -> Update:
        said = self._cleaner.text(text.strip()[-replies.MAX_MESSAGE :]) if text and text.strip() else None
        whole = f"{sentence}: {said}" if said and code == "provider_failed" else sentence
        return Update(status=Status.FAILED, error=Failure(code, whole, None, said), usage=self._usage)


class Choice:
    """One of the answers (`n`): text and calls of functions, put together from their pieces."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._names: dict[int, dict[str, str]] = {}
        self.reason: str | None = None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def calls(self) -> list[dict[str, str]]:
        return [call for _, call in sorted(self._names.items())]

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        calls = [{"type": "function", "function": call} for call in self.calls]
        return {**message, "tool_calls": calls} if calls else message

    def add(self, piece: dict[str, Any]) -> str:
        """Takes a chunk's `delta`, or the `message` of a plain answer; returns the new text."""
        if isinstance(piece.get("finish_reason"), str):
            self.reason = piece["finish_reason"]
        delta = piece.get("delta") or piece.get("message")
        if not isinstance(delta, dict):
            return ""
        self._add_call(0, delta.get("function_call"))
        calls = delta.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else []):
            if isinstance(call, dict):
                index = call.get("index")
                self._add_call(index if isinstance(index, int) else place, call.get("function"))
        content = delta.get("content")
        if not isinstance(content, str):
            return ""
        self._pieces.append(content)
        return content

    def _add_call(self, index: int, function: Any) -> None:
        if not isinstance(function, dict):
            return
        call = self._names.setdefault(index, {"name": "", "arguments": ""})
        for name in call:
            if isinstance(function.get(name), str):
                call[name] += function[name]
