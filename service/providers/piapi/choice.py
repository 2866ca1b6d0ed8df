"""One choice of a chat completion, assembled from its chunks."""

from typing import Any

_TEXT_PARTS = ("text", "output_text", "input_text")
_BESIDE_TEXT = ("images", "image", "image_url", "audio", "video", "files", "attachments", "media")
MAX_MEDIA = 200


class Choice:
    """Text, calls of functions, a refusal, and what came beside the text (`media`: pictures, sound)."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._refusal: list[str] = []
        self._names: dict[int, dict[str, str]] = {}
        self.media: list[dict[str, Any]] = []
        self.reason: str | None = None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def refusal(self) -> str:
        return "".join(self._refusal)

    @property
    def calls(self) -> list[dict[str, str]]:
        return [call for _, call in sorted(self._names.items())]

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.media:
            message["media"] = self.media
        if self.refusal:
            message["refusal"] = self.refusal
        calls = [{"type": "function", "function": call} for call in self.calls]
        return {**message, "tool_calls": calls} if calls else message

    def add(self, piece: dict[str, Any]) -> str:
        """Takes a chunk's `delta`, or the `message` of a plain response; returns the new text."""
        if isinstance(piece.get("finish_reason"), str):
            self.reason = piece["finish_reason"]
        delta = piece.get("delta") or piece.get("message")
        if not isinstance(delta, dict):
            return self._add_text(piece.get("text"))
        self._add_calls(delta)
        if isinstance(delta.get("refusal"), str):
            self._refusal.append(delta["refusal"])
        for name in _BESIDE_TEXT:
            if delta.get(name):
                self._add_media({name: delta[name]})
        content = delta.get("content")
        return "".join([self._add_part(part) for part in (content if isinstance(content, list) else [content])])

    def _add_part(self, part: Any) -> str:
        if not isinstance(part, dict):
            return self._add_text(part)
        kind = part.get("type")
        if kind == "refusal" and isinstance(part.get("refusal"), str):
            self._refusal.append(part["refusal"])
            return ""
        if kind in _TEXT_PARTS or (kind is None and set(part) == {"text"}):
            return self._add_text(part.get("text"))
        self._add_media(part)
        return ""

    def _add_text(self, text: Any) -> str:
        if not isinstance(text, str):
            return ""
        self._pieces.append(text)
        return text

    def _add_media(self, part: dict[str, Any]) -> None:
        if len(self.media) < MAX_MEDIA:
            self.media.append(part)

    def _add_calls(self, delta: dict[str, Any]) -> None:
        self._add_call(0, delta.get("function_call"))
        calls = delta.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else []):
            if isinstance(call, dict):
                index = call.get("index")
                self._add_call(index if isinstance(index, int) else place, call.get("function"))

    def _add_call(self, index: int, function: Any) -> None:
        if not isinstance(function, dict):
            return
        call = self._names.setdefault(index, {"name": "", "arguments": ""})
        for name in call:
            if isinstance(function.get(name), str):
                call[name] += function[name]
