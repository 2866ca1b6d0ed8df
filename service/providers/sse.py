"""Cuts a stream of bytes into the payloads of its server-sent events; a payload may be one line of many megabytes."""

import orjson

MAX_LINE = 64 * 1024 * 1024
_FIELDS = (b"event:", b"id:", b"retry:", b":")
ENDS = ("[DONE]", "[none]")


class Payloads:
    """Bytes in, parsed payloads out: JSON values, or a string for what is no JSON (`[DONE]`).

    An answer that is plain JSON instead of a stream comes out of `rest`.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._size = 0
        self._pending = b""
        self._plain: bool | None = None
        self.too_large = False

    def feed(self, chunk: bytes) -> list[object]:
        if self.too_large:
            return []
        if self._plain is None and (begun := chunk.lstrip(b" \t\r\n\xef\xbb\xbf")):
            self._plain = begun.startswith(b"{")
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
        return found

    def rest(self) -> list[object]:
        """What is left when the stream has ended: an unfinished last line, or the whole plain answer."""
        text = b"".join(self._line)
        self._line = []
        if self._plain:
            return _parse(text)
        return self._take(text)

    def _take(self, line: bytes) -> list[object]:
        line = line.rstrip(b"\r")
        if not line.strip():
            self._pending = b""
            return []
        if line.startswith(b"data:"):
            part = line[5:].removeprefix(b" ")
            whole = self._pending + b"\n" + part if self._pending else part
        elif self._pending and not line.startswith(_FIELDS):
            # A line break inside a payload, as in the documents' printed example.
            whole = self._pending + line
        else:
            return []
        found = _parse(whole)
        self._pending = b"" if found else whole
        return found


def _parse(text: bytes) -> list[object]:
    try:
        return [orjson.loads(text)]
    except ValueError:
        word = text[:16].strip().decode(errors="replace")
        return [word] if word in ENDS else []
