"""Replays as a cursor: one for each subscription, moved together with the deliveries that it makes."""

import pytest

from service.core.errors import Conflict
from service.ports.queries import DeliveryQuery, EventQuery
from service.ports.replays import Replay
from service.ports.store import Store
from tests.store.parts import NOW, a_subscription, a_task


async def prepared(store: Store, events: int = 3) -> Replay:
    """A subscription that heard nothing of `events` stored events, and a replay of all of them."""
    for _ in range(events):
        await store.tasks.add(a_task(), None)
    subscription = a_subscription(events=("task.queued",))
    await store.subscriptions.add(subscription)
    return Replay(subscription.id, 0, await store.events.last_seq(), ("task.queued",))


async def test_one_replay_of_a_subscription_runs_at_a_time(store: Store) -> None:
    replay = await prepared(store)
    await store.replays.start(replay)
    with pytest.raises(Conflict):
        await store.replays.start(replay)
    assert await store.replays.open() == [replay]
    await store.replays.end(replay.subscription_id)
    await store.replays.start(replay)


async def test_a_step_puts_deliveries_and_moves_the_cursor(store: Store) -> None:
    replay = await prepared(store)
    await store.replays.start(replay)
    subscription = await store.subscriptions.get(replay.subscription_id)
    assert subscription is not None
    events = await store.events.after(EventQuery(None, types=("task.queued",)))
    await store.replays.step(replay, subscription, events[:2], events[1].seq, NOW)
    moved = Replay(replay.subscription_id, events[1].seq, replay.up_to, replay.types)
    assert await store.replays.open() == [moved]
    # Somebody who has not seen the move changes nothing.
    await store.replays.step(replay, subscription, events, events[1].seq, NOW)
    assert len(await store.deliveries.find(DeliveryQuery(None))) == 2
    await store.replays.step(moved, subscription, events[2:], replay.up_to, NOW)
    assert await store.replays.open() == []
    assert len(await store.deliveries.find(DeliveryQuery(None))) == 3


async def test_a_replay_ends_with_its_subscription(store: Store) -> None:
    replay = await prepared(store)
    await store.replays.start(replay)
    await store.subscriptions.remove(replay.subscription_id)
    assert await store.replays.open() == []


async def test_the_events_of_a_replay_are_counted(store: Store) -> None:
    replay = await prepared(store)
    assert await store.replays.count("alice", replay) == 3
    assert await store.replays.count("bob", replay) == 0


async def test_an_owner_has_no_more_subscriptions_than_the_limit(store: Store) -> None:
    for _ in range(2):
        await store.subscriptions.add(a_subscription(), 2)
    with pytest.raises(Conflict):
        await store.subscriptions.add(a_subscription(), 2)
    await store.subscriptions.add(a_subscription(owner="bob"), 2)
