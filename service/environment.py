"""Read settings by name from environment variables, and collect everything wrong with them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from service.core.targets import ALL_PRIVATE_TARGETS, NO_PRIVATE_TARGETS, PrivateTargets, network

T = TypeVar("T")
N = TypeVar("N", int, float)
TRUE, FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
LONGEST_WAIT = 30 * 86_400


@dataclass(frozen=True, slots=True)
class WrongSetting:
    """`reason` continues a sentence that begins with the name, and never contains a secret."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class SettingsError(Exception):
    """At least one setting is wrong; the text has one line each."""

    def __init__(self, wrong: list[WrongSetting]) -> None:
        super().__init__("\n".join(map(str, wrong)))
        self.wrong = tuple(wrong)


class Environment:
    """An empty variable counts as unset. A wrong value yields the default, so that reading continues."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.wrong: list[WrongSetting] = []

    def reject(self, name: str, reason: str) -> None:
        self.wrong.append(WrongSetting(name, reason))

    def optional(self, name: str) -> str | None:
        return self._variables.get(name, "").strip() or None

    def text(self, name: str, default: str) -> str:
        return self.optional(name) or default

    def parsed(self, name: str, default: str, parse: Callable[[str], T]) -> T:
        """`parse` raises ValueError with the reason."""
        try:
            return parse(self.text(name, default))
        except ValueError as error:
            self.reject(name, str(error))
            return parse(default)

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        return self.parsed(name, str(default), lambda raw: _within(_number(raw, int, "a whole number"), low, high))

    def number(self, name: str, default: float, low: float, high: float) -> float:
        return self.parsed(name, f"{default:g}", lambda raw: _within(_number(raw, float, "a number"), low, high))

    def flag(self, name: str, default: bool) -> bool:
        return self.parsed(name, str(default), _flag)

    def choice(self, name: str, default: str, *others: str) -> str:
        def parse(raw: str) -> str:
            if (word := raw.lower()) not in (default, *others):
                raise ValueError(f"must be one of {', '.join(sorted((default, *others)))}, not {raw[:40]!r}")
            return word

        return self.parsed(name, default, parse)

    def seconds(self, name: str, default: str) -> tuple[float, ...]:
        return self.parsed(name, default, _seconds)

    def address(self, name: str, default: str) -> str:
        return self.parsed(name, default, _address)

    def private_targets(self, name: str) -> PrivateTargets:
        return self.parsed(name, "false", _private_targets)

    def token(self, name: str) -> str | None:
        """A secret that is sent in a header: visible ASCII characters."""
        value = self.optional(name)
        if value is not None and not _visible(value):
            self.reject(name, "contains a space or a character that is not allowed in an HTTP header")
        return value


def _number(raw: str, kind: Callable[[str], N], wanted: str) -> N:
    try:
        return kind(raw)
    except ValueError:
        raise ValueError(f"must be {wanted}, not {raw[:40]!r}") from None


def _within(value: N, low: float, high: float) -> N:
    # Written so that nan is rejected too.
    if not low <= value <= high:
        raise ValueError(f"must be between {low:g} and {high:g}, not {value}")
    return value


def _flag(raw: str) -> bool:
    word = raw.lower()
    if word not in TRUE | FALSE:
        raise ValueError(f"must be true or false, not {raw[:40]!r}")
    return word in TRUE


def _seconds(raw: str) -> tuple[float, ...]:
    try:
        waits = tuple(float(part) for part in raw.split(","))
    except ValueError:
        raise ValueError("must be seconds separated by commas, such as 5,300,1800") from None
    if not all(0 <= wait <= LONGEST_WAIT for wait in waits):
        raise ValueError(f"must be between 0 and {LONGEST_WAIT} seconds each")
    return waits


def _address(raw: str) -> str:
    try:
        parts = urlsplit(raw)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a valid address; write something like https://example.com") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address such as https://example.com")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not contain credentials, a query or a fragment")
    if not _visible(raw):
        raise ValueError("must be plain ASCII without spaces")
    return raw.rstrip("/")


def _private_targets(raw: str) -> PrivateTargets:
    word = raw.lower()
    if word in TRUE:
        return ALL_PRIVATE_TARGETS
    if word in FALSE:
        return NO_PRIVATE_TARGETS
    hosts, networks = set(), []
    for part in (part.strip() for part in word.split(",")):
        try:
            found = network(part)
        except ValueError:
            raise ValueError(f"contains {part[:60]!r}, which is not a network such as 10.0.0.0/8") from None
        if found is not None:
            networks.append(found)
        elif HOST_NAME.fullmatch(part) and part not in TRUE | FALSE:
            hosts.add(part.removesuffix("."))
        else:
            raise ValueError(f"must be true, false, or host names and networks, not {part[:60]!r}")
    return PrivateTargets(hosts=frozenset(hosts), networks=tuple(networks))


def _visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
