"""Trouble that repeats: a few lines, then one that counts."""

import asyncio
import copy
import logging
from dataclasses import dataclass

# Of warnings and errors that differ only in their values: so many in a window, the others counted.
LINES, WINDOW = 5, 60.0


@dataclass(slots=True)
class _Kind:
    lines: int = 0
    hidden: int = 0


class RepeatFilter(logging.Filter):
    """Without a running event loop everything passes."""

    def __init__(self, lines: int = LINES, window: float = WINDOW) -> None:
        super().__init__()
        self._lines = lines
        self._window = window
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return True
        key = (record.name, record.levelno, str(record.msg))
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind()
            loop.call_later(self._window, self._end, key, record)
        if kind.lines < self._lines:
            kind.lines += 1
            return True
        kind.hidden += 1
        return False

    def _end(self, key: tuple[str, int, str], first: logging.LogRecord) -> None:
        kind = self._kinds.pop(key)
        if kind.hidden:
            told = copy.copy(first)
            told.msg = f"{first.getMessage()} ({kind.hidden} more like this in {self._window:g} s)"
            told.args, told.exc_info, told.exc_text = (), None, None
            logging.getLogger(first.name).handle(told)
