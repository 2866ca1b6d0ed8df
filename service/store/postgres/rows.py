"""Convert values to rows and back, and rows to columns for `unnest`."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson
from asyncpg import Record

from service.core.delivery import Delivery, DeliveryStatus
from service.core.event import Event
from service.core.subscription import Subscription
from service.core.task import Task

DELIVERY_COLUMNS = (
    "d.n, d.lane, d.subscription_id, d.owner, d.seq, d.event_id, d.event_type, d.task_id, d.url, d.status, d.tries,"
    " d.attempts, d.next_attempt_at, d.worker"
)
EVENT_COLUMNS = "seq, id, type, owner, task_id, at, body"

encode_task = msgspec.json.Encoder().encode
decode_task = msgspec.json.Decoder(Task).decode
encode_subscription = msgspec.json.Encoder().encode
decode_subscription = msgspec.json.Decoder(Subscription).decode


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def text(value: str) -> str:
    """PostgreSQL allows no NUL in text, so it is replaced in what is searched or shown."""
    return value.replace("\0", "\ufffd") if "\0" in value else value


def new_task(task: Task) -> tuple[Any, ...]:
    return (
        task.id,
        task.owner,
        task.provider,
        text(task.model),
        str(task.status),
        encode_task(task),
        task.created_at,
        task.finished_at,
        task.sent_at,
        task.check_at,
        task.deadline_at,
        task.place_until,
    )


def changed_task(task: Task) -> tuple[Any, ...]:
    return (
        task.id,
        str(task.status),
        encode_task(task),
        task.finished_at,
        task.sent_at,
        task.check_at,
        task.deadline_at,
        task.place_until,
    )


def event_row(event: Event) -> tuple[Any, ...]:
    return event.seq, event.id, event.type, event.owner, event.task_id, event.at, event.body


def event_of(row: Record) -> Event:
    return Event(row["seq"], row["id"], row["type"], row["owner"], row["task_id"], row["at"], row["body"])


def delivery_row(item: Delivery) -> tuple[Any, ...]:
    return (
        item.n,
        item.lane,
        item.subscription_id,
        item.owner,
        item.seq,
        item.event_id,
        item.event_type,
        item.task_id,
        text(item.url),
        item.next_attempt_at,
        item.worker,
    )


def delivery_of_row(row: Record, body: bytes = b"") -> Delivery:
    return Delivery(
        n=row["n"],
        lane=row["lane"],
        subscription_id=row["subscription_id"],
        owner=row["owner"],
        seq=row["seq"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        task_id=row["task_id"],
        url=row["url"],
        body=body,
        status=DeliveryStatus(row["status"]),
        tries=row["tries"],
        attempts=tuple(orjson.loads(row["attempts"])) if row["attempts"] else (),
        next_attempt_at=row["next_attempt_at"],
        worker=row["worker"],
    )


def outcome_row(item: Delivery) -> tuple[Any, ...]:
    attempts = orjson.dumps(item.attempts)
    return item.n, item.worker, str(item.status), item.tries, attempts, item.next_attempt_at


def subscription_rows(records: Iterable[Record]) -> list[Subscription]:
    return [decode_subscription(record["state"]) for record in records]
