"""Collects the stream of a chat completion, and draws conclusions only at its end."""

import re
from typing import Any

from service.core.inline import InlineFile, unique
from service.core.result import Failure, Progress, Usage
from service.core.task import Status
from service.core.update import Update
from service.providers import inline, outputs, reasons, texts
from service.providers.event_stream import ENDS, Payloads
from service.providers.outputs import Found
from service.providers.piapi.choice import Choice
from service.providers.piapi.errors import error_of
from service.providers.redact import Cleaner

MAX_TEXT = 16 * 1024 * 1024
TAIL = 200
# Characters of a growing text that are shown.
WATCHED = 20_000
INLINE = re.compile(r";base64,[A-Za-z0-9+/=]+")


class ChatReader:
    """`pictures`: the model is expected to return a picture; `given`: addresses in the prompt."""

    def __init__(self, cleaner: Cleaner, pictures: bool, given: frozenset[str]) -> None:
        self._files: list[InlineFile] = []
        self._cleaner = cleaner.collecting(self._files)
        self._watched = cleaner
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
        return Update(Status.PROCESSING, progress=progress)

    def text_so_far(self) -> str:
        return self._watched.text(INLINE.sub(";base64,…", self._first.text[-WATCHED:]))

    def finish(self, complete: bool) -> Update:
        for payload in self._payloads.rest():
            self._take(payload)
        if self._error is not None:
            return self._failed("provider_failed", "The model answered with an error", reasons.reason(self._error))
        if not (complete or self._ended):
            sentence = "The line to PiAPI broke before the answer was complete"
            return self._failed("stream_interrupted", sentence, self._first.text)
        if self._payloads.too_large or self._length > MAX_TEXT:
            return self._failed("no_output", "The answer was larger than the service takes", None)
        return self._with_pictures() if self._pictures else self._with_text()

    @property
    def _first(self) -> Choice:
        return self._choices[min(self._choices)] if self._choices else Choice()

    def _take(self, payload: object) -> None:
        if isinstance(payload, str) and payload in ENDS:
            self._ended = True
        if not isinstance(payload, dict):
            return
        if (error := error_of(payload)) is not None:
            self._error = error
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
        found = self._media()
        if found or any(choice.text or choice.calls for choice in self._choices.values()):
            return self._completed(inline.lifted(self._first.text, self._files), found)
        return self._refused() or self._failed("no_output", "The model answered nothing", None)

    def _with_pictures(self) -> Update:
        text = inline.lifted(self._first.text, self._files)
        found = self._media() or texts.pictures(text, self._given)
        if texts.failed(text, bool(found)):
            return self._failed("provider_failed", "The model could not make the picture", text)
        found = found or texts.last_resort(text, self._given)
        if found:
            return self._completed(text, found)
        return self._refused() or self._failed("no_output", "The model answered without a picture", text)

    def _media(self) -> list[Found]:
        """Pictures and the like that came beside the text, the last first."""
        media = {f"choices.{index}.message": choice.media for index, choice in self._choices.items() if choice.media}
        found = outputs.addresses(self._cleaner.tree(media), "image")
        return [one for one in reversed(found) if one.url not in self._given]

    def _refused(self) -> Update | None:
        refusal = next((choice.refusal for choice in self._choices.values() if choice.refusal), None)
        if refusal:
            return self._failed("provider_failed", "The model refused", refusal)
        if self._first.reason in ("content_filter", "safety", "SAFETY", "content_policy_violation"):
            sentence = "The provider's content filter stopped the answer"
            return self._failed("provider_failed", sentence, self._first.text)
        return None

    def _completed(self, text: str, found: list[Found]) -> Update:
        usage = self._cleaner.tree(self._usage)
        choices = [
            {"index": index, "message": choice.message(), "finish_reason": choice.reason}
            for index, choice in sorted(self._choices.items())
        ]
        raw = self._cleaner.tree({**self._head, "choices": choices, "usage": usage})
        warnings = self._warnings()
        if self._first.reason == "content_filter":
            warnings += ("The provider's content filter cut the answer short",)
        return Update(
            Status.COMPLETED,
            output=outputs.output(found, self._cleaner.text(text, MAX_TEXT) or None, raw),
            usage=usage,
            files=unique(self._files),
            warnings=warnings,
        )

    def _failed(self, code: str, sentence: str, text: str | None) -> Update:
        said = self._cleaner.text(text.strip()[-reasons.MAX_TEXT :]) if text and text.strip() else None
        whole = f"{sentence}: {said}" if said and code == "provider_failed" else sentence
        error = Failure(code, whole, None, said)
        return Update(Status.FAILED, error=error, usage=self._usage, warnings=self._warnings())

    def _warnings(self) -> tuple[str, ...]:
        return tuple(self._cleaner.text(text) for text in self._payloads.warnings)
