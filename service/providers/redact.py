"""Everything a provider sent is cleaned here before it is stored, logged or sent on: no key, secret or callback token,
no megabytes of base64, nothing nested beyond reason."""

import re
from typing import Any

import orjson

from service.core.inline import InlineFile
from service.providers import inline, strings

HIDDEN = "[hidden]"
_CONTAINERS = (dict, list)
MAX_DEPTH = 60
MAX_STRING = 65_536
MAX_NAME = 200
# Shorter ones are not real keys, and cutting "test" out of every text would spoil results.
SHORTEST_SECRET = 8
# The echo of what we sent to be called back: its secret is the task's, which is not known at every place of reading.
_ECHO = frozenset(("webhook_config", "webhook_secret", "x-webhook-secret"))
# Our own tokens, as `wire.tokens` makes them; anything else that stands under /webhooks/ may be a result.
_TOKEN = re.compile(r"\b(?:piapi|modelslab)\.tsk_[0-9a-f]{12,64}\.\d{1,9}\.[A-Za-z0-9_-]{10,100}")


class Cleaner:
    """`secrets` must not appear anywhere. `files` collects what is inline; placeholders take its place."""

    def __init__(self, *secrets: str, files: list[InlineFile] | None = None) -> None:
        self._secrets = tuple(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
        self._files = files

    def collecting(self, files: list[InlineFile]) -> "Cleaner":
        """The same, with a list of its own for the files of one response."""
        same = Cleaner(files=files)
        same._secrets = self._secrets
        return same

    def tree(self, node: Any, depth: int = 0) -> Any:
        if isinstance(node, str):
            return self.text(node)
        if not isinstance(node, _CONTAINERS):
            return node
        if depth > MAX_DEPTH:
            return "[nested too deeply]"
        if isinstance(node, list):
            return [self.tree(item, depth + 1) for item in node]
        clean = {}
        for name, value in node.items():
            hidden = value and name.lower() in _ECHO
            clean[name[:MAX_NAME].replace("\x00", "")] = HIDDEN if hidden else self.tree(value, depth + 1)
        return clean

    def text(self, text: str, limit: int = MAX_STRING) -> str:
        if not text:
            return text
        if self._files is not None and not (text.startswith("http") and len(text) < MAX_STRING):
            if (file := inline.inline(text)) is not None:
                self._files.append(file)
                return file.placeholder
            text = self._without_inline(text)
        if len(text) > limit:
            return f"[{len(text)} characters left out]"
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        if ".tsk_" in text:
            text = _TOKEN.sub(HIDDEN, text)
        return text.replace("\x00", "")

    def _without_inline(self, text: str) -> str:
        """The same for files inside longer texts, and inside JSON that came as a text."""
        assert self._files is not None
        if len(text) > MAX_STRING and (inner := strings.parsed(text)) is not None:
            return orjson.dumps(self.tree(inner)).decode()
        return inline.lifted(text, self._files) if ";base64," in text else text


def audit(body: bytes, *secrets: str, limit: int = 16_384) -> str:
    """The body of a call at the callback door as it may be kept: JSON where it is JSON, at most `limit` characters."""
    cleaner = Cleaner(*secrets)
    try:
        text = orjson.dumps(cleaner.tree(orjson.loads(body))).decode()
    except ValueError:
        text = cleaner.text(body[:MAX_STRING].decode(errors="replace"))
    return text if len(text) <= limit else text[:limit] + f"… ({len(text)} characters)"
