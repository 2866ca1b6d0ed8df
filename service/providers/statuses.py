"""The providers' words for a task's state, in any case and with blanks. A word that is not here means: still open."""

from typing import Any

from service.core.task import Status

_WORDS = {
    Status.SUBMITTED: ("pending", "staged", "starting", "retry", "queued"),
    Status.PROCESSING: ("processing", "running"),
    Status.COMPLETED: ("completed", "success", "ready"),
    Status.FAILED: ("failed", "error"),
    Status.CANCELED: ("cancelled", "canceled"),
}
_STATUSES = {word: status for status, words in _WORDS.items() for word in words}
MAX_WORD = 60


def status_of(word: Any) -> Status | None:
    return _STATUSES.get(word.strip().lower()) if isinstance(word, str) else None


def shown(word: Any) -> str | None:
    """The provider's own word, for people to read; numbers such as Kling's 99 are no status of a task."""
    return word.replace("\x00", "").strip()[:MAX_WORD] or None if isinstance(word, str) else None
