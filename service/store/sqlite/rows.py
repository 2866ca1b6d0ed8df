"""Convert values to rows and back."""

from typing import Any

import msgspec
import orjson

from service.core.delivery import Delivery, DeliveryStatus, delivery_id
from service.core.event import Event
from service.core.subscription import Subscription
from service.core.task import Task
from service.store.sqlite.unreadable import UnreadableRow, name_once, task_name

EVENT_COLUMNS = "seq, id, type, owner, task_id, at, body"
SUBSCRIPTION_COLUMNS = (
    "id, owner, url, secret, created_at, updated_at, events, filter, description, headers, old_secrets,"
    " enabled, disabled_reason, failing_since"
)
DELIVERY_COLUMNS = (
    "d.n, d.lane, d.subscription_id, d.owner, d.seq, d.event_id, d.event_type, d.task_id, d.url, d.status, d.tries,"
    " d.attempts, d.next_attempt_at, d.worker"
)


_encode_state = msgspec.json.Encoder().encode
_skip_json = msgspec.json.Decoder(msgspec.Raw).decode
_decode_state = msgspec.json.Decoder(Task).decode


def task_from_row(row: tuple[Any, ...]) -> Task:
    """Raises UnreadableRow."""
    try:
        return _decode_state(row[0])
    except (msgspec.DecodeError, TypeError, ValueError):
        raise UnreadableRow(task_name(row[0])) from None


def task_to_new_row(task: Task) -> tuple[Any, ...]:
    return (
        task.id,
        task.owner,
        task.provider,
        task.model,
        str(task.status),
        _encode_state(task),
        task.created_at,
        task.deadline_at,
    )


def task_to_metadata(task: Task) -> tuple[Any, ...]:
    return task.id, task.owner, _encode_state(task.metadata).decode()


def task_to_moved_row(n: int, task: Task) -> tuple[Any, ...]:
    return str(task.status), _encode_state(task), n


def task_to_changed_row(n: int, task: Task) -> tuple[Any, ...]:
    return (
        str(task.status),
        _encode_state(task),
        task.finished_at,
        task.sent_at,
        task.check_at,
        task.deadline_at,
        task.place_until,
        n,
    )


def event_to_row(event: Event) -> tuple[Any, ...]:
    return event.seq, event.id, event.type, event.owner, event.task_id, event.at, event.body


def event_from_row(row: tuple[Any, ...]) -> Event:
    """Raises UnreadableRow."""
    seq, event_id, event_type, owner, task_id, at, body = row
    if not is_json(body):
        raise UnreadableRow(f"event {seq}")
    return Event(seq, event_id, event_type, owner, task_id, at, body)


def is_json(body: object) -> bool:
    """Without building it: lists and deliveries pass it on as it is."""
    if not isinstance(body, bytes):
        return False
    try:
        body.decode()
        _skip_json(body)
    except ValueError:
        return False
    return True


def subscription_from_row(row: tuple[Any, ...]) -> Subscription:
    """Raises UnreadableRow."""
    try:
        return _subscription(row)
    except (TypeError, ValueError):
        raise UnreadableRow(f"subscription {row[0]}") from None


def _subscription(row: tuple[Any, ...]) -> Subscription:
    item_id, owner, url, secret, created_at, updated_at, events, wanted, description, headers, *rest = row
    old_secrets, enabled, disabled_reason, failing_since = rest
    return Subscription(
        id=item_id,
        owner=owner,
        url=url,
        secret=secret,
        created_at=created_at,
        updated_at=updated_at,
        events=tuple(orjson.loads(events)),
        filter=orjson.loads(wanted),
        description=description,
        headers=orjson.loads(headers),
        old_secrets=tuple((secret, until) for secret, until in orjson.loads(old_secrets)),
        enabled=bool(enabled),
        disabled_reason=disabled_reason,
        failing_since=failing_since,
    )


def subscription_to_row(item: Subscription) -> tuple[Any, ...]:
    return (
        item.id,
        item.owner,
        item.url,
        item.secret,
        item.created_at,
        item.updated_at,
        orjson.dumps(item.events).decode(),
        orjson.dumps(item.filter).decode(),
        item.description,
        orjson.dumps(item.headers).decode(),
        orjson.dumps(item.old_secrets).decode(),
        int(item.enabled),
        item.disabled_reason,
        item.failing_since,
    )


def delivery_from_row(row: tuple[Any, ...], body: bytes | None = None) -> Delivery:
    """Raises UnreadableRow, also for a body that is no JSON."""
    try:
        if body is not None and not is_json(body):
            raise ValueError
        return _delivery(row, body or b"")
    except (TypeError, ValueError):
        raise UnreadableRow(f"delivery {delivery_id(row[0])}") from None


def _delivery(row: tuple[Any, ...], body: bytes) -> Delivery:
    n, lane, subscription_id, owner, seq, event_id, event_type, task_id, url, status, tries, *rest = row
    attempts, next_at, worker = rest
    return Delivery(
        n=n,
        lane=lane,
        subscription_id=subscription_id,
        owner=owner,
        seq=seq,
        event_id=event_id,
        event_type=event_type,
        task_id=task_id,
        url=url,
        body=body,
        status=DeliveryStatus(status),
        tries=tries,
        attempts=_attempts(n, attempts),
        next_attempt_at=next_at,
        worker=worker,
    )


def _attempts(n: int, attempts: bytes | None) -> tuple[dict[str, Any], ...]:
    if not attempts:
        return ()
    try:
        return tuple(msgspec.json.decode(attempts, type=list[dict[str, Any]]))
    except ValueError:
        # Only the history of the delivery is lost; it continues.
        name_once(f"delivery {delivery_id(n)}")
        return ()


def new_delivery_to_row(item: Delivery) -> tuple[Any, ...]:
    return (
        item.n,
        item.lane,
        item.subscription_id,
        item.owner,
        item.seq,
        item.event_id,
        item.event_type,
        item.task_id,
        item.url,
        item.next_attempt_at,
        item.worker,
    )


def outcome_to_row(item: Delivery) -> tuple[Any, ...]:
    return str(item.status), item.tries, orjson.dumps(item.attempts), item.next_attempt_at, item.n, item.worker
