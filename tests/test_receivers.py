"""What receivers ask for and how they are treated: a rest, an end, disabled after a long failure."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from service.core.delivery import Attempt
from service.core.subscription import Subscription
from service.workers.background import Background
from service.workers.delivery_limiter import Standing
from service.workers.health import SubscriptionHealth
from tests.conftest import TXT2IMG, Service, Subscriber, running
from tests.test_deliveries_api import rows, settled
from tests.test_subscriptions_api import shown, subscribe

FAILED, DELIVERED, GONE = (Attempt(0, status, None, 1) for status in (500, 200, 410))


# --- a rest ---


async def test_retry_after_rests_everything_for_that_receiver(service: Service, subscriber: Subscriber) -> None:
    busy = asyncio.Event()

    async def answer(request: Request, body: bytes) -> Response:
        busy.set()
        return Response(status_code=429, headers={"Retry-After": "3600"})

    subscriber.answer = answer
    made = await subscribe(service, subscriber.url)
    await service.finished(TXT2IMG)
    await asyncio.wait_for(busy.wait(), 20)
    while not (await rows(service))[0]["attempts"]:
        await asyncio.sleep(0)
    for _ in range(3):
        await service.finished(TXT2IMG)
    assert len(subscriber.received) == 1
    # A ping that succeeds ends the rest.
    subscriber.answer = None
    await service.client.post(f"/v1/subscriptions/{made['id']}/ping")
    await subscriber.count(5)
    assert subscriber.types[1] == "ping"


async def test_deliveries_waiting_in_memory_keep_their_order_after_a_pause(
    service: Service, subscriber: Subscriber
) -> None:
    moves = ["task.queued", "task.submitted", "task.completed"]
    resting = True

    def answer(request: Request, body: bytes) -> Response:
        headers = {"Retry-After": "3600"} if resting else None
        return Response(status_code=503 if resting else 204, headers=headers)

    subscriber.answer = answer
    made = await subscribe(service, subscriber.url, events=moves)
    task = await service.finished(TXT2IMG)
    await subscriber.count(1)
    resting = False
    await service.client.patch(f"/v1/subscriptions/{made['id']}", json={"enabled": True})
    await subscriber.count(3)
    later = [event["type"] for event in subscriber.events if event["data"]["id"] == task["id"]]
    assert later == moves


# --- an end ---


async def test_410_ends_all_that_waits_for_a_callback_url(service: Service, subscriber: Subscriber) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def answer(request: Request, body: bytes) -> Response:
        asked.set()
        await gone.wait()
        return Response(status_code=410)

    subscriber.answer = answer
    moves = ["task.queued", "task.submitted", "task.processing", "task.completed"]
    await service.finished(TXT2IMG | {"callback_url": subscriber.url, "callback_events": moves})
    await asyncio.wait_for(asked.wait(), 20)
    gone.set()
    await settled(service, "dead", 4)
    assert len(subscriber.received) == 1


# --- health ---


class Held:
    """The subscriptions of a store as far as health asks them."""

    def __init__(self) -> None:
        self.item = Subscription("sub_1", "alice", "https://example.com", "whsec_x", 0, 0)
        self.changes = 0

    def known(self, subscription_id: str) -> Subscription | None:
        return self.item

    async def change(
        self, subscription_id: str, decide: Callable[[Subscription], tuple[Subscription, str | None] | None]
    ) -> Subscription:
        self.changes += 1
        decided = decide(self.item)
        if decided is not None:
            self.item = decided[0]
        return self.item


class ManualClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> int:
        return int(self.seconds * 1000)


def health_of(held: Held, clock: ManualClock, disable_after: float = 100.0) -> tuple[SubscriptionHealth, Background]:
    background = Background()
    return SubscriptionHealth(held, disable_after, clock, background), background  # type: ignore[arg-type]


async def fails(health: SubscriptionHealth, clock: ManualClock, *moments: float) -> None:
    for moment in moments:
        clock.seconds = moment
        health.failed("sub_1", FAILED)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_failures_again_and_again_disable() -> None:
    held, clock = Held(), ManualClock()
    health, background = health_of(held, clock)
    await fails(health, clock, 0, 20, 40, 60, 80, 99)
    assert held.item.enabled
    await fails(health, clock, 100)
    await background.stop(1)
    assert (held.item.enabled, held.item.failing_since) == (False, 0)


async def test_one_success_starts_the_count_afresh() -> None:
    held, clock = Held(), ManualClock()
    health, _ = health_of(held, clock)
    await fails(health, clock, 0, 20, 40, 60, 80)
    health.succeeded("sub_1")
    await fails(health, clock, 100, 120, 140, 160, 180)
    assert held.item.enabled


async def test_a_few_failures_far_apart_do_not_disable() -> None:
    held, clock = Held(), ManualClock()
    health, _ = health_of(held, clock)
    await fails(health, clock, 0, 1, 2, 3, 4, 5, 101, 102)
    assert held.item.enabled
    two = Held()
    health, _ = health_of(two, clock)
    await fails(health, clock, 0, 40, 80, 110)
    assert two.item.enabled


async def test_failures_are_written_once_and_not_each() -> None:
    held, clock = Held(), ManualClock()
    health, _ = health_of(held, clock)
    await fails(health, clock, *range(1, 50))
    assert held.changes == 0
    await health.write()
    assert (held.changes, held.item.failing_since) == (1, 1000)
    await health.write()
    assert held.changes == 1
    health.succeeded("sub_1")
    await health.write()
    assert (held.changes, held.item.failing_since) == (2, None)


async def test_a_long_failure_is_remembered_over_a_restart() -> None:
    held, clock = Held(), ManualClock()
    health, _ = health_of(held, clock)
    await fails(health, clock, 0, 30, 60)
    await health.write()
    health, background = health_of(held, clock)
    await fails(health, clock, 90, 100, 101, 102, 103)
    await background.stop(1)
    assert not held.item.enabled


async def test_what_is_known_of_a_receiver_gives_its_standing() -> None:
    held, clock = Held(), ManualClock()
    health, background = health_of(held, clock)
    assert health.standing("sub_1") is Standing.NEW
    await fails(health, clock, 1)
    assert health.standing("sub_1") is Standing.FAILING
    health.succeeded("sub_1")
    assert health.standing("sub_1") is Standing.HEALTHY
    health.failed("sub_1", GONE)
    await background.stop(1)
    assert not held.item.enabled


async def test_a_ping_that_succeeds_counts_for_the_health(env: dict[str, str], subscriber: Subscriber) -> None:
    status = 500
    subscriber.answer = lambda request, body: Response(status_code=status)
    async with running(env | {"DISABLE_AFTER": "0.5", "RETRY_SCHEDULE": ",".join(["0.02"] * 4)}) as service:
        made = await subscribe(service, subscriber.url)
        await service.finished(TXT2IMG)
        await settled(service, "dead")
        status = 200
        assert (await service.client.post(f"/v1/subscriptions/{made['id']}/ping")).json()["status"] == "delivered"
        status = 500
        await asyncio.sleep(0.5)
        await service.finished(TXT2IMG)
        await settled(service, "dead", 2)
        assert (await shown(service, made))["enabled"]
