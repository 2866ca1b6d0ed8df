"""Texts of the simulated models."""

from collections.abc import Callable
from typing import Any

import orjson

from .behaviour import Behaviour

PROGRESS = "> 🕐 Queuing...\n\n> ⚡ Generating...\n\n> 🏃 Progress 12..37..58..84..[100](%)\n\n"


def image_chat_text(prompt: str, behaviour: Behaviour, new_picture: Callable[[], str]) -> tuple[str, str]:
    """gpt-4o-image's text while it works, and its text at the end."""
    request = orjson.dumps({"prompt": prompt, "ratio": "1:1"}, option=orjson.OPT_INDENT_2).decode()
    working = f"```json\n{request}\n```\n\n{PROGRESS}"
    if "preview" in behaviour.stream:
        working += f"![preview]({new_picture()})\n\n"
    if behaviour.fail is not None or "fail_text" in behaviour.stream:
        reason = behaviour.fail or "the request may violate the content policy"
        return working, f"> ❌ Generation failed\n> Failure reason: {reason}\n> Suggestion: change the prompt\n"
    if behaviour.no_output or "no_image" in behaviour.stream:
        return working, behaviour.text or "I could not make a picture of this, but here are some thoughts on it."
    url = new_picture()
    said = f"{behaviour.text}\n\n" if behaviour.text else "> ✅ Generation complete\n\n"
    return working, f"{said}![image]({url})\n\n[Click to download]({url})"


def chat_text(prompt: str, behaviour: Behaviour) -> str:
    if behaviour.no_output:
        return ""
    if behaviour.fail is not None:
        return f"Generation failed\nReason: {behaviour.fail}"
    return behaviour.text if behaviour.text is not None else f"You said: {prompt}"


def usage_of(prompt: str, answer: str) -> dict[str, Any]:
    asked, said = len(prompt.split()) + 1, len(answer.split()) + 1
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
