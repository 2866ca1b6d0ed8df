"""Subscriptions, and whom they make an event go to."""

from typing import Any

import pytest

from service.core.event import EVENT_TYPES
from service.core.subscription import Subscription
from service.ports.queries import DeliveryQuery
from service.ports.store import Store
from tests.store.parts import NOW, a_subscription, added, finished


async def test_a_subscription_comes_back_as_it_was_stored(store: Store) -> None:
    one = a_subscription(
        events=("task.completed", "ping"),
        filter={"provider": "piapi", "metadata": {"n": 1}},
        description="mine",
        headers={"X-Mine": "1"},
        old_secrets=(("whsec_b2xk", NOW),),
        enabled=False,
        disabled_reason="gone",
        failing_since=NOW,
    )
    await store.subscriptions.add(one)
    assert await store.subscriptions.get(one.id) == store.subscriptions.known(one.id) == one


async def test_an_empty_filter_wants_every_task_of_its_owner_and_no_others(store: Store) -> None:
    mine, narrow = a_subscription(filter={}), a_subscription(filter={"provider": "modelslab"})
    for one in (mine, narrow, a_subscription(owner="bob"), a_subscription(enabled=False)):
        await store.subscriptions.add(one)
    await finished(store)
    found = await store.deliveries.find(DeliveryQuery(None))
    assert [item.subscription_id for item in found] == [mine.id]


async def test_subscriptions_are_found_by_owner_or_all(store: Store) -> None:
    for owner in ("alice", "bob"):
        await store.subscriptions.add(a_subscription(owner=owner))
    assert [one.owner for one in await store.subscriptions.find("bob")] == ["bob"]
    assert len(await store.subscriptions.find(None)) == 2


async def test_subscriptions_are_found_by_whether_they_are_enabled(store: Store) -> None:
    made = [a_subscription(enabled=n % 2 == 0) for n in range(5)]
    for one in made:
        await store.subscriptions.add(one)
    for owner in ("alice", None):
        found = await store.subscriptions.find(owner, enabled=False)
        assert [one.id for one in found] == [made[3].id, made[1].id]


async def test_a_task_right_behind_a_new_subscription_already_goes_to_it(store: Store) -> None:
    one = a_subscription(events=("task.queued",))
    await store.subscriptions.add(one)
    await added(store)
    assert len(await store.deliveries.find(DeliveryQuery(None, subscription_id=one.id))) == 1


async def test_a_changed_subscription_tells_the_others_of_its_owner(store: Store) -> None:
    one, other = a_subscription(events=EVENT_TYPES), a_subscription(events=EVENT_TYPES)
    await store.subscriptions.add(one)
    await store.subscriptions.add(other)
    off = a_subscription(id=one.id, enabled=False)
    await store.subscriptions.change(one.id, lambda _: (off, "subscription.disabled"))
    [told] = await store.deliveries.find(DeliveryQuery(None))
    assert (told.subscription_id, told.event_type) == (other.id, "subscription.disabled")
    known = store.subscriptions.known(one.id)
    assert known is not None
    assert not known.enabled


async def test_a_refused_change_of_a_subscription_is_not_remembered_either(store: Store) -> None:
    one = a_subscription()
    await store.subscriptions.add(one)

    def broken(item: Subscription) -> Any:
        return a_subscription(id=one.id, enabled=False, created_at="soon"), "subscription.disabled"

    with pytest.raises(TypeError):
        await store.subscriptions.change(one.id, broken)
    assert await store.subscriptions.get(one.id) == store.subscriptions.known(one.id) == one


async def test_a_removed_subscription_is_gone_at_once(store: Store) -> None:
    one = a_subscription()
    await store.subscriptions.add(one)
    assert await store.subscriptions.remove(one.id)
    assert not await store.subscriptions.remove(one.id)
    assert store.subscriptions.known(one.id) is await store.subscriptions.get(one.id) is None
    await finished(store)
    assert await store.deliveries.find(DeliveryQuery(None)) == []
