"""What a chat model's answer says about its picture: the address, the failure, the progress; all as human text."""

import re
from collections.abc import Iterator

from service.core.inline import PREFIX, is_placeholder
from service.providers.addresses import MAX_URL, address_of
from service.providers.outputs import Found

_BARE = re.compile(r"(?:https?://|inline:)[^\s)\]>\"'`<]+", re.IGNORECASE)
_SOURCE = re.compile(r"\bsrc=([\"'])", re.IGNORECASE)
_PUNCTUATION = ".,;:!?*_。，"  # noqa: RUF001
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_FAILED = re.compile(r"generation failed|failure reason", re.IGNORECASE)
_MAYBE_FAILED = re.compile(r"generation failed|failure reason|\breason:|\bsuggestion:", re.IGNORECASE)
_PERCENT = re.compile(r"(\d{1,3})(?:\.\d{1,10})?\s{0,5}%")
MAX_PARENTHESES = 10
_MEDIA_HOSTS = ("theapi.app", "filesystem.site", "oaiusercontent.com")


def pictures(text: str, given: frozenset[str] = frozenset()) -> list[Found]:
    """Addresses of results, the best (the last picture) first; `given` are those of the question, no results.

    A fenced block repeats the prompt and its references; nothing in it is a result.
    """
    text = _blank(text)
    links = list(_links(text))
    images = [url for url, shown in links if shown] + list(_sources(text))
    if images := _last_first(images, given):
        return [Found(url, f"text.{index}", "image") for index, url in enumerate(images)]
    others = [*_last_first([url for url, _ in links], given), *_last_first(_bare(text), given)]
    sure = [url for url in others if Found(url, "").kind != "other"] or [url for url in others if _media_host(url)]
    return [Found(url, f"text.{index}") for index, url in enumerate(dict.fromkeys(sure))]


def last_resort(text: str, given: frozenset[str]) -> list[Found]:
    """An address without any sign that it is a picture: better than nothing when nothing else is there."""
    text = _blank(text)
    found = _last_first([url for url, _ in _links(text)], given) or _last_first(_bare(text), given)
    return [Found(url, "text.0") for url in found[:1]]


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


def _links(text: str) -> Iterator[tuple[str, bool]]:
    """Markdown's links in order, and whether each is a picture. By hand: every place is looked at a few times at most,
    where a regular expression goes over the rest of the text again from each bracket."""
    done = 0
    while (middle := text.find("](", done)) >= 0:
        label = text.rfind("[", done, middle)
        url, end = _target(text, middle + 2)
        if url is not None and label >= 0:
            yield url, text[label - 1 : label] == "!"
        done = end


def _target(text: str, start: int) -> tuple[str | None, int]:
    """The address between the parentheses, and where to go on. Blanks and balanced parentheses belong to it."""
    limit = min(len(text), start + MAX_URL + 400)
    line_end = text.find("\n", start + 1, limit)
    limit = limit if line_end < 0 else line_end
    end = text.find(")", start, limit)
    for _ in range(MAX_PARENTHESES):
        if end < 0 or text.count("(", start, end) <= text.count(")", start, end):
            break
        end = text.find(")", end + 1, limit)
    if end < 0:
        end = text.find(")", start, limit)
    if end < 0:
        return None, start
    return _address(_without_title(text[start:end].strip()).removeprefix("<").removesuffix(">")), end


def _without_title(text: str) -> str:
    """Of `address "title"` the address."""
    for mark in ('"', "'"):
        if text.endswith(mark) and (cut := text.rfind(f" {mark}", 0, -1)) > 0:
            return text[:cut].rstrip()
    return text


def _sources(text: str) -> Iterator[str]:
    """Pictures written as HTML."""
    for match in _SOURCE.finditer(text):
        end = text.find(match[1], match.end(), match.end() + MAX_URL)
        if end >= 0 and (url := _address(text[match.end() : end])):
            yield url


def _bare(text: str) -> list[str]:
    return [url for match in _BARE.finditer(text) if (url := _address(match.group().rstrip(_PUNCTUATION)))]


def _address(text: str) -> str | None:
    return text if is_placeholder(text) else address_of(text)


def _last_first(urls: list[str], given: frozenset[str]) -> list[str]:
    return list(dict.fromkeys(url for url in reversed(urls) if url not in given))


def _media_host(url: str) -> bool:
    if url.startswith(PREFIX):
        return True
    host = url.split("/")[2].partition(":")[0].lower()
    return any(host == known or host.endswith(f".{known}") for known in _MEDIA_HOSTS)
