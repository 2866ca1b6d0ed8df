"""The events of a move and their recipients. A store only numbers and writes them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from service.core.delivery import Delivery
from service.core.event import FINISHING_EVENTS, Event, encode, encode_event
from service.core.ids import new_id
from service.core.subscription import Recipient, Subscription, callback_lane
from service.core.task import Task
from service.core.transitions import Step


class Interested(Protocol):
    """The subscriptions, in memory."""

    def interested(self, owner: str, event_type: str) -> Collection[Subscription]:
        """Enabled subscriptions of this owner that list this type."""
        ...


class Announcement(Struct, frozen=True):
    """An event without its number yet. `data` is JSON; `skip` is a subscription that does not get it."""

    type: str
    owner: str
    task: Task | None
    at: int
    data: bytes
    skip: str | None = None


def about_task(event_type: str, task: Task) -> Announcement:
    return Announcement(event_type, task.owner, task, task.updated_at, encode(task.document()))


def announcements(steps: Sequence[Step]) -> list[Announcement]:
    return [about_task(event_type, task) for task, event_type in steps if event_type is not None]


def about_subscription(event_type: str, subscription: Subscription, at: int) -> Announcement:
    """For the owner's other subscriptions."""
    data = encode(subscription.document())
    return Announcement(event_type, subscription.owner, None, at, data, skip=subscription.id)


def ping_of(subscription: Subscription, at: int) -> Announcement:
    return Announcement("ping", subscription.owner, None, at, encode({"subscription_id": subscription.id}))


def numbered(announcement: Announcement, seq: int) -> Event:
    event_id = new_id("evt")
    task = announcement.task
    body = encode_event(seq, event_id, announcement.type, announcement.at, announcement.data)
    return Event(seq, event_id, announcement.type, announcement.owner, task.id if task else None, announcement.at, body)


def recipients(announcement: Announcement, subscriptions: Interested) -> Iterable[Recipient]:
    """The owner's subscriptions that match, and the callback_url of the task itself.

    A ping goes only to the subscription that it tests.
    """
    if announcement.type == "ping":
        return
    task, event_type = announcement.task, announcement.type
    for item in subscriptions.interested(announcement.owner, event_type):
        if item.id != announcement.skip and item.matches(task):
            yield Recipient(item.id, item.id, item.url)
    if task is not None and task.callback_url and event_type in (task.callback_events or FINISHING_EVENTS):
        yield Recipient(callback_lane(task.owner, task.callback_url), None, task.callback_url)


def delivery_of(n: int, event: Event, recipient: Recipient, now: int, worker: int) -> Delivery:
    """Due at once; `worker` has claimed it, 0 for none."""
    return Delivery(
        n=n,
        lane=recipient.lane,
        subscription_id=recipient.subscription_id,
        owner=event.owner,
        seq=event.seq,
        event_id=event.id,
        event_type=event.type,
        task_id=event.task_id,
        url=recipient.url,
        body=event.body,
        next_attempt_at=now,
        worker=worker,
    )
