"""What a request asks the sandbox to do wrong: `[sandbox: key=value key="two words"]` in its prompt (or `X-Sandbox`).

key             value                             effect
delay           seconds (1.0)                     until finished: a quarter pending, the rest processing
answer_delay    seconds                           the submit's response is delayed; an accepted task runs meanwhile
submit          400 401 402 429 500 502           refused with that status
                busy200                           refused for the rate, with HTTP 200
                quota                             429 with `insufficient_quota`: no money, not too fast
                firewall redirect                 403 with a firewall's HTML page; 302 to the web site
                timeout reset garbage             no response, a broken connection, or a web page; not accepted
                accepted_500 accepted_502         accepted and charged, but the response is lost
                accepted_timeout accepted_reset   the same
retry_after     seconds                           with 429: header (PiAPI), body field (ModelsLab)
times           N                                 misbehave for the first N submits of this prompt (N reads for fetch)
fetch           404 429 500 timeout reset garbage the response to reading the task
callback        none twice early late_processing  several with commas; early: before the submit's response is sent
                conflict created                  the opposite finish follows; a call at creation too
                processing anyway                 ModelsLab: a call at processing; a call after an immediate success
                flat code_shape garbage           other bodies
                wrong_id wrong_track              another task's id, another track_id (ModelsLab)
                bad_secret no_secret slow         slow: the body trickles in over half a second
callback_delay  seconds                           from the finish to its call
callback_retry  seconds                           from a refused call to the next (PiAPI)
spelling        lower capital legacy              completed, Completed, success ("processing" with its TAB)
status          any                               the finished task's status, word for word
json            bom notice trailer nan newline    callbacks and answers about the task are written untidily
                latin1 surrogate gzip             the same
drop_webhook    1                                 PiAPI: the echo has an empty endpoint and no call ever comes
fail            message                           the task fails (code 10000); an LLM says so in its text
no_output       1                                 finished, but nothing in the output
late_output     N                                 the same for the first N reports and reads of the finish, then all
instant         1                                 finished already in the submit's response
id              int str null empty missing        ModelsLab: how the id is written
output          list empty_string                 ModelsLab: how an empty output is written
output          base64                            PiAPI and images: the picture itself, not its address
output          film                              PiAPI: a film as a data address
history         thin none                         PiAPI: the history without input and config, or without the task
stream          break stall no_image fail_text    LLM, several with commas: cut, silent, no picture, an error text
                slow crlf no_done none_done       keep-alives and pauses, line ends, no [DONE], data:[none]
                preview                           a preview picture before the picture
size            N                                 kilobytes that a picture has at least
file            500 page                          the first read of each result file: an error, or an HTML page
text            words                             what the LLM says
hold            NAME                              processing goes on until POST /sandbox/release/NAME
queue           NAME                              stays pending until POST /sandbox/release/NAME
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .untidy import WAYS

MARKER = re.compile(r'\[sandbox:((?:"[^"]*"|[^\]"])*)\]')
PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s"]+))')

FAULTS = {"timeout", "reset", "garbage", "429", "500"}
ACCEPTED = "accepted_"
LOST = {ACCEPTED + fault for fault in ("500", "502", "timeout", "reset")}
CHOICES: dict[str, set[str]] = {
    "submit": FAULTS | LOST | {"400", "401", "402", "502", "busy200", "quota", "firewall", "redirect"},
    "fetch": FAULTS | {"404"},
    "callback": {
        "none", "twice", "early", "late_processing", "conflict", "created", "processing", "anyway", "flat",
        "code_shape", "garbage", "wrong_id", "wrong_track", "bad_secret", "no_secret", "slow",
    },
    "spelling": {"lower", "capital", "legacy"},
    "id": {"int", "str", "null", "empty", "missing"},
    "output": {"list", "empty_string", "base64", "film"},
    "json": set(WAYS),
    "history": {"thin", "none"},
    "file": {"500", "page"},
    "stream": {"break", "stall", "no_image", "fail_text", "slow", "crlf", "no_done", "none_done", "preview"},
}  # fmt: skip


class UnknownBehaviour(ValueError):
    """The request asks for something that is not in the table; the message says what."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    delay: float = 1.0
    answer_delay: float = 0.0
    submit: str = ""
    retry_after: float | None = None
    times: int | None = None
    fetch: str = ""
    callback: frozenset[str] = frozenset()
    callback_delay: float = 0.0
    callback_retry: float | None = None
    spelling: str = "lower"
    status: str | None = None
    drop_webhook: bool = False
    fail: str | None = None
    no_output: bool = False
    late_output: int = 0
    json: str = ""
    instant: bool = False
    id: str = ""
    output: str = ""
    history: str = ""
    stream: frozenset[str] = frozenset()
    size: int = 0
    file: str = ""
    text: str | None = None
    hold: str = ""
    queue: str = ""

    @property
    def accepted(self) -> bool:
        return not self.submit or self.submit.startswith(ACCEPTED)

    @property
    def response_fault(self) -> str:
        return self.submit.removeprefix(ACCEPTED)

    def without_faults(self) -> "Behaviour":
        """The same request without its faults: what remains after `times`."""
        return replace(self, submit="", fetch="", callback=frozenset(), drop_webhook=False, fail=None, no_output=False,
                       late_output=0, json="", stream=frozenset(), answer_delay=0.0, status=None)  # fmt: skip


def parse(text: str) -> Behaviour:
    values: dict[str, Any] = {}
    for key, quoted, plain in PAIR.findall(text):
        values[key] = _convert(key, quoted or plain)
    if rest := PAIR.sub("", text).strip():
        raise UnknownBehaviour(f"sandbox: cannot read {rest!r}, write key=value")
    return Behaviour(**values)


def marker_in(value: object) -> str | None:
    """The first `[sandbox: …]` in any string of a JSON value, without its brackets."""
    if isinstance(value, str):
        found = MARKER.search(value)
        return found.group(1) if found else None
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((marker for item in inner if (marker := marker_in(item)) is not None), None)


def _convert(key: str, value: str) -> object:
    if key in {"callback", "stream"}:
        return frozenset(_choose(key, one) for one in value.split(","))
    if key in CHOICES:
        return _choose(key, value)
    if key not in CONVERTERS:
        raise UnknownBehaviour(f"sandbox: unknown key {key!r}, one of {', '.join(sorted(CHOICES | CONVERTERS))}")
    try:
        return CONVERTERS[key](value)
    except ValueError:
        raise UnknownBehaviour(f"sandbox: {key} cannot be {value!r}") from None


def _choose(key: str, value: str) -> str:
    if value not in CHOICES[key]:
        raise UnknownBehaviour(f"sandbox: {key} cannot be {value!r}, one of {', '.join(sorted(CHOICES[key]))}")
    return value


def _switch(value: str) -> bool:
    return value not in {"0", "false", "no", ""}


CONVERTERS: dict[str, Callable[[str], object]] = {
    "delay": float, "answer_delay": float, "retry_after": float, "callback_delay": float, "callback_retry": float,
    "times": int, "size": int, "late_output": int, "drop_webhook": _switch, "no_output": _switch, "instant": _switch,
    "status": str, "fail": str, "text": str, "hold": str, "queue": str,
}  # fmt: skip
