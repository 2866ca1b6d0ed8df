"""The providers' words for a task's state, in any case and with blanks."""

import logging
from functools import lru_cache
from typing import Any

from service.core.task import Status

log = logging.getLogger("callbridge.submitting.providers")

# What the providers document, or were seen to send; with these the provider itself has said it.
_DOCUMENTED = {
    Status.SUBMITTED: ("pending", "staged", "starting", "retry", "queued"),
    Status.PROCESSING: ("processing", "running"),
    Status.COMPLETED: ("completed", "success"),
    Status.FAILED: ("failed", "error"),
    Status.CANCELED: ("cancelled", "canceled"),
}
# Words of other interfaces for the same. An end that is read out of one of them is our conclusion.
_SYNONYMS = {
    Status.SUBMITTED: ("waiting", "created", "submitted", "accepted", "scheduled", "inqueue", "notstarted", "init"),
    Status.PROCESSING: ("inprogress", "started", "generating", "working", "inprocess", "executing", "rendering"),
    Status.COMPLETED: ("complete", "succeeded", "succeed", "successful", "done", "finished", "finish", "ready", "ok"),
    Status.FAILED: (
        *("fail", "failure", "errored", "rejected", "reject", "expired", "timeout", "timedout"),
        *("aborted", "refused", "denied", "blocked", "moderated", "invalid"),
    ),
    Status.CANCELED: ("cancel", "canceling", "cancelling", "stopped", "terminated"),
}
_STATUSES = {word: (status, True) for status, words in _DOCUMENTED.items() for word in words} | {
    word: (status, False) for status, words in _SYNONYMS.items() for word in words
}
_PREFIXES = ("taskstatus", "jobstatus", "status", "task", "job")
_APART = str.maketrans("", "", " -_.:\t\r\n\0")
MAX_WORD = 60


def status_of(word: Any) -> Status | None:
    """None for a word that nobody knows: such a task is still open."""
    return known(word)[0]


def known(word: Any) -> tuple[Status | None, bool]:
    """The status, and whether the word is a documented one."""
    if not isinstance(word, str) or len(word) > MAX_WORD:
        return None, False
    return _find(word)


@lru_cache(maxsize=512)
def _find(word: str) -> tuple[Status | None, bool]:
    text = word.casefold().translate(_APART)
    if text in _STATUSES:
        return _STATUSES[text]
    for prefix in _PREFIXES:
        if text.startswith(prefix) and text[len(prefix) :] in _STATUSES:
            return _STATUSES[text[len(prefix) :]][0], False
    if text:
        # Cached: each word is logged once.
        log.warning("a provider used a status word that is not known: %r", word[:MAX_WORD])
    return None, False


def shown(word: Any) -> str | None:
    """The provider's own word, for people to read; numbers such as Kling's 99 are no status of a task."""
    return word.replace("\x00", "").strip()[:MAX_WORD] or None if isinstance(word, str) else None
