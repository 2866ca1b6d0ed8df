"""What a chat model's answer says about its picture: the address, the failure, the progress; all as human text."""

import re

from service.providers.outputs import Found, is_result

_MARKDOWN_IMAGE = re.compile(r"!\[[^\]]*\]\(\s*<?((?:https?://|inline:)[^\s)>]+)>?[^)]*\)")
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?((?:https?://|inline:)[^\s)>]+)>?[^)]*\)")
_BARE = re.compile(r"(?:https?://|inline:)[^\s)\]>\"'`]+")
_PUNCTUATION = ".,;:!?*_。，"  # noqa: RUF001
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_FAILED = re.compile(r"generation failed|failure reason", re.IGNORECASE)
_MAYBE_FAILED = re.compile(r"generation failed|failure reason|\breason:|\bsuggestion:", re.IGNORECASE)
_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)?\s*%")
_MEDIA_HOSTS = ("theapi.app", "filesystem.site", "oaiusercontent.com")
INLINE = re.compile(r"data:image/[a-zA-Z+.-]+;base64,[A-Za-z0-9+/=]+")


def pictures(text: str, given: frozenset[str] = frozenset()) -> list[Found]:
    """Addresses of results, the best (the last picture) first; `given` are those of the question, no results.

    A fenced block repeats the prompt and its references; nothing in it is a result.
    """
    text = _blank(text)
    images = _last_first(_MARKDOWN_IMAGE, text, given)
    if images:
        return [Found(url, f"text.{index}", "image") for index, url in enumerate(images)]
    links = [*_last_first(_LINK, text, given), *_last_first(_BARE, text, given)]
    sure = [url for url in links if Found(url, "").kind != "other"] or [url for url in links if _media_host(url)]
    return [Found(url, f"text.{index}") for index, url in enumerate(dict.fromkeys(sure))]


def last_resort(text: str, given: frozenset[str]) -> list[Found]:
    """An address without any sign that it is a picture: better than nothing when nothing else is there."""
    text = _blank(text)
    links = _last_first(_LINK, text, given) or _last_first(_BARE, text, given)
    return [Found(url, "text.0") for url in links[:1]]


def failed(text: str, found: bool) -> bool:
    """Whether the text tells of a failure. With a picture, only when a plain failure comes after the last one."""
    text = _blank(text)
    if not found:
        return _MAYBE_FAILED.search(text) is not None
    last = max((match.end() for match in _BARE.finditer(text)), default=0)
    return _FAILED.search(text, last) is not None


def percent(text: str) -> int | None:
    """The last percentage of a text."""
    stated = [int(match) for match in _PERCENT.findall(text) if int(match) <= 100]
    return stated[-1] if stated else None


def _blank(text: str) -> str:
    return _FENCE.sub(" ", text)


def _last_first(pattern: re.Pattern[str], text: str, given: frozenset[str]) -> list[str]:
    matches = pattern.finditer(text)
    urls = [match.group(1) if pattern.groups else match.group().rstrip(_PUNCTUATION) for match in matches]
    return list(dict.fromkeys(url for url in reversed(urls) if is_result(url) and url not in given))


def _media_host(url: str) -> bool:
    host = url.split("/")[2].partition(":")[0].lower()
    return any(host == known or host.endswith(f".{known}") for known in _MEDIA_HOSTS)
