"""Cuts a stream of bytes into the payloads of its server-sent events; a payload may be one line of many megabytes."""

import codecs
from typing import Any

import orjson

from service.providers import documents

MAX_LINE = 64 * 1024 * 1024
# Bytes kept before the first payload: a plain JSON response may have other output in front.
MAX_HEAD = 8 * 1024 * 1024
# A payload broken into lines is parsed again after each line, up to this many.
MAX_JOINED = 64
_FIELDS = (b"event:", b"id:", b"retry:", b":")
ENDS = ("[DONE]", "[none]")


class Payloads:
    """Bytes in, parsed payloads out: JSON values, or a string for what is no JSON (`[DONE]`).

    A response that is plain JSON instead of a stream comes out of `rest`.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._size = 0
        self._pending: list[bytes] = []
        self._event = b""
        self._plain: bool | None = None
        self._head: bytearray | None = bytearray()
        self.too_large = False
        # Repairs that were made, for the task's warnings.
        self.repairs: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        return documents.warning(self.repairs)

    def feed(self, chunk: bytes) -> list[object]:
        if self.too_large:
            return []
        if self._plain is None and (begun := chunk.lstrip(b" \t\r\n\xef\xbb\xbf")):
            self._plain = begun.startswith((b"{", b"["))
            if not self._plain and chunk.startswith(codecs.BOM_UTF8):
                chunk = chunk[3:]
        found: list[object] = []
        # Only the new part is searched for line ends, so a long line costs its length once.
        *lines, last = [chunk] if self._plain else chunk.split(b"\n")
        for line in lines:
            self._line.append(line)
            found.extend(self._take(b"".join(self._line)))
            self._line, self._size = [], 0
        self._line.append(last)
        self._size += len(last)
        if self._size > MAX_LINE:
            self.too_large, self._line = True, []
        self._keep_head(chunk, bool(found))
        return found

    def rest(self) -> list[object]:
        """What is left when the stream has ended: an unfinished last line, or the whole plain response."""
        text = b"".join(self._line)
        self._line = []
        if self._plain:
            return self._read(text)
        found = [*self._take(text), *self._flush()]
        if not found and self._head:
            found = self._read(bytes(self._head))
        return found

    def _keep_head(self, chunk: bytes, found: bool) -> None:
        if self._plain or found or (self._head is not None and len(self._head) > MAX_HEAD):
            self._head = None
        elif self._head is not None:
            self._head += chunk

    def _take(self, line: bytes) -> list[object]:
        line = line.rstrip(b"\r")
        if not line.strip():
            found, self._event = self._flush(), b""
            return found
        if line.startswith(b"event:"):
            self._event = line[6:].strip()[:100]
        if line.startswith(b"data:"):
            part = line[5:].removeprefix(b" ")
            if self._pending and (whole := _strict(part)):
                return [*self._flush(), *self._named(whole)]
            self._pending += [b"\n", part] if self._pending else [part]
        elif self._pending and not line.startswith(_FIELDS):
            # A line break inside a payload, as in the documents' printed example.
            self._pending.append(line)
        else:
            return []
        if len(self._pending) > MAX_JOINED:
            return []
        found = self._named(_strict(b"".join(self._pending)))
        if found:
            self._pending = []
        return found

    def _flush(self) -> list[object]:
        """The end of an event whose payload is not valid JSON."""
        text, self._pending = b"".join(self._pending), []
        return self._named(self._read(text)) if text else []

    def _read(self, text: bytes) -> list[object]:
        if found := _strict(text):
            return found
        document = documents.read(text)
        if document is None:
            return []
        self.repairs |= dict.fromkeys(document.repairs)
        return [document.value]

    def _named(self, found: list[object]) -> list[object]:
        """An event named error is an error, whatever its payload looks like."""
        if self._event != b"error":
            return found
        return [one if isinstance(one, dict) and one.get("error") else {"error": one} for one in found]


def _strict(text: bytes) -> list[Any]:
    try:
        return [orjson.loads(text)]
    except ValueError:
        word = text[:16].strip().decode(errors="replace")
        return [word] if word in ENDS else []
