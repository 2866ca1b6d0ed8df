"""Events: one per move of a task, the same bytes for every subscriber."""

import orjson
from msgspec import Struct

from service.core.times import to_iso

# When all files of a result are stored or have failed.
STORED_EVENT = "task.stored"
TASK_EVENTS = (
    "task.queued",
    "task.submitted",
    "task.unconfirmed",
    "task.processing",
    "task.completed",
    "task.failed",
    "task.canceled",
    STORED_EVENT,
)
FINISHING_EVENTS = ("task.completed", "task.failed", "task.canceled")
EVENT_TYPES = (*TASK_EVENTS, "subscription.disabled", "ping")


TIMESTAMP = b'"timestamp":"'
LENGTH_OF_TIME = len("2026-01-31T12:00:00.000Z")


class Event(Struct, frozen=True):
    seq: int
    id: str
    type: str
    owner: str
    task_id: str | None
    at: int
    # The whole event as JSON, encoded once.
    body: bytes


def encode_event(seq: int, event_id: str, event_type: str, at: int, data: bytes) -> bytes:
    """The event's JSON; `data` is JSON already."""
    head = f'{{"id":"{event_id}","seq":{seq},"type":"{event_type}","timestamp":"{to_iso(at)}","data":'
    return b"".join((head.encode(), data, b"}"))


def time_of(body: bytes) -> str:
    """The timestamp of an event made by `encode_event`."""
    start = body.index(TIMESTAMP) + len(TIMESTAMP)
    return body[start : start + LENGTH_OF_TIME].decode()


def encode(document: object) -> bytes:
    return orjson.dumps(document)
