"""Strings in a provider's JSON: JSON inside a string, and text made fit for a sentence."""

import re
from typing import Any

import orjson

MAX_SENTENCE = 200
_TAG = re.compile(r"<[^<>]{0,300}>?")


def parsed(text: str) -> Any:
    """The valid JSON inside a string; None when it is no object and no list."""
    if text[:1] not in ("{", "[") and text[:200].lstrip()[:1] not in ("{", "["):
        return None
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def plain(text: str) -> str:
    """Text for a sentence: no tags, no line breaks, not long."""
    text = " ".join(_TAG.sub(" ", text[: 4 * MAX_SENTENCE]).split())
    return text if len(text) <= MAX_SENTENCE else text[:MAX_SENTENCE] + "…"
