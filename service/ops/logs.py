"""The log: JSON lines, or text on a terminal, with secrets redacted."""

import logging
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from pythonjsonlogger.orjson import OrjsonFormatter

from service.core.times import to_iso
from service.ops.repeats import RepeatFilter

ROOT = "callbridge"
# Fields that a line may carry, in this order.
FIELDS = ("request_id", "task_id", "delivery_id", "subscription_id", "provider", "status", "duration_ms")
Fields = dict[str, Any]
# Signed addresses, stream tokens and webhook secrets, wherever they come from.
SIGNED = re.compile(r"(/webhooks/[a-z]+/|/media/|/results/|[?&]token=|whsec_)[^\s\"'<>&]+")
SHORTEST_SECRET = 6


class Redactor:
    """Removes the secrets of this installation from a text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        longest_first = sorted({one for one in secrets if len(one) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        if self._secrets is not None:
            text = self._secrets.sub("[secret]", text)
        return SIGNED.sub(r"\1[secret]", text)


class JsonFormatter(OrjsonFormatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data.update(_fields_of(record, self._redact))
        if trace := message_dict.get("exc_info"):
            log_data["exception"] = self._redact(_encodable(trace))

    def line(self, fields: Fields) -> str:
        """From `time`, `level`, `message` and any of FIELDS."""
        return self.jsonify_log_record(fields)


class TextFormatter(logging.Formatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(_fields_of(record, self._redact))
        if record.exc_info:
            trace = self._redact(self.formatException(record.exc_info))
            line += "".join(f"\n    {_one_line(part)}" for part in trace.splitlines())
        return line

    def line(self, fields: Fields) -> str:
        rest = dict(fields)
        head = f"{rest.pop('time')} {rest.pop('level'):7} {rest.pop('message')}"
        return _one_line(" ".join([head, *(f"{name}={value}" for name, value in rest.items())]))


class LineHandler(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO, formatter: JsonFormatter | TextFormatter, redact: Redactor) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._line = formatter.line
        self._redact = redact

    def write_lines(self, lines: Sequence[Fields]) -> None:
        """In one write, without the cost of a record for each."""
        for fields in lines:
            # The only value that a client chose.
            if "request_id" in fields:
                fields["request_id"] = self._redact(fields["request_id"])
        text = "".join(self._line(fields) + self.terminator for fields in lines)
        self.acquire()
        try:
            self.stream.write(text)
            self.flush()
        finally:
            self.release()


def set_up(form: str, level: str, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """`form` as LOG_FORMAT, `level` as LOG_LEVEL; `secrets` never appear in a line."""
    out = stream or sys.stderr
    text = form == "text" or (form == "auto" and out.isatty())
    redact = Redactor(secrets)
    handler = LineHandler(out, TextFormatter(redact) if text else JsonFormatter(redact), redact)
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    # Other libraries log addresses and headers at lower levels, and ours hold tokens.
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level.upper())


def write_lines(lines: Sequence[Fields]) -> None:
    """Many lines at level info, each with `time`, `level` and `message`; cheaper than a record for each."""
    log = logging.getLogger(f"{ROOT}.tasks")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.write_lines(lines)
        else:
            for line in lines:
                extra = {name: value for name, value in line.items() if name in FIELDS}
                handler.handle(log.makeRecord(log.name, logging.INFO, "", 0, line["message"], (), None, extra=extra))


def _fields_of(record: logging.LogRecord, redact: Redactor) -> Fields:
    fields: Fields = {
        "time": to_iso(int(record.created * 1000)),
        "level": record.levelname.lower(),
        "message": redact(_encodable(record.getMessage())),
    }
    for name in FIELDS:
        value = record.__dict__.get(name)
        if value is not None:
            fields[name] = redact(_encodable(value)) if isinstance(value, str) else value
    return fields


def _encodable(text: str) -> str:
    """Text with a lone surrogate (a path that is no UTF-8) cannot be written."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _one_line(text: str) -> str:
    """Line breaks and control characters escaped: so a client's text cannot forge a log line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
