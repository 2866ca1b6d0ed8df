"""Addresses in a provider's text, percent-encoded where they hold spaces or non-ASCII letters."""

import re
from urllib.parse import quote

import idna

MAX_URL = 4_096
# Longer texts are not lists of addresses.
MAX_LIST = 262_144
# The usual case: nothing to encode, and nothing that could part it from another.
_PLAIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?+(?:[/?#][A-Za-z0-9/?#@!$&'()*+=:%~._-]*)?")
_ADDRESS = re.compile(r"(https?):(//[^\s/?#@:\[\]\\]++(?::\d{1,5})?+)([/?#].*)?", re.IGNORECASE | re.DOTALL)
# Several addresses in one text stand apart by one of these, each after the first with its scheme.
_BETWEEN = re.compile(r"(?<![,;|\s])[,;|\s]++(?=https?://|//)", re.IGNORECASE)
# What may stand in an address as it is; a percent sign is taken as already encoded.
_SAFE = "/?#[]@!$&'()*+,;=:%~-._"
_WORDS = re.compile(r"[a-z]+")
# A blank after one of these ends the address: words follow.
_ENDS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".webm", ".mov", ".mp3", ".wav", ".glb")


def address_of(text: str) -> str | None:
    """The http(s) address that a text is as a whole; None for any other text."""
    text = text.strip()
    if text.startswith("//") and "." in text[2:].partition("/")[0]:
        text = f"https:{text}"
    if text[:4].lower() != "http" or len(text) > MAX_URL:
        return None
    parts = _ADDRESS.fullmatch(text)
    if parts is None or not (parts[3] or "").isprintable():
        return None
    host = parts[2]
    if not host.isascii() and (host := _ascii_host(host)) is None:
        return None
    address = f"{parts[1].lower()}:{host}{quote(parts[3] or '', safe=_SAFE)}"
    return address if len(address) <= MAX_URL else None


def addresses_in(text: str) -> list[str]:
    """All addresses of a text that is one, or a list of them with commas, semicolons, bars or blanks between."""
    text = text.strip()
    if text[:4].lower() != "http" and not text.startswith("//"):
        return []
    if len(text) > MAX_LIST:
        return []
    if _PLAIN.fullmatch(text):
        return [text] if len(text) <= MAX_URL else []
    found = []
    for part in _BETWEEN.split(text):
        address = address_of(_without_prose(part.rstrip(",;|")))
        if address is None:
            return []
        found.append(address)
    return found


def words_of(url: str) -> frozenset[str]:
    """The words of an address's path, to know a preview by its name."""
    return frozenset(_WORDS.findall(url.partition("//")[2].partition("/")[2].partition("?")[0].lower()))


def _without_prose(text: str) -> str:
    first, *rest = text.split(None, 1)
    return first if rest and first.lower().endswith(_ENDS) else text


def _ascii_host(host: str) -> str | None:
    name, colon, port = host[2:].partition(":")
    try:
        return f"//{idna.encode(name, uts46=True).decode('ascii')}{colon}{port}"
    except (UnicodeError, ValueError):
        return None
