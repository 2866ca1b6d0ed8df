"""What makes the service pass each commit point, on top of the traffic that always runs."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.core.points import Point
from service.tools.drill.traffic import HELD, HELD_BEFORE, Traffic

Act = Callable[[Traffic], Coroutine[Any, Any, None]]
AT_PROVIDER = ("submitted", "processing")
REPLAYED = 20


@dataclass(frozen=True, slots=True)
class Scenario:
    act: Act
    # Done with a service that is killed before the one with the kill point starts.
    before: Act | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


async def just_traffic(traffic: Traffic) -> None:
    traffic.mix(4)


def with_kind(kind: str) -> Scenario:
    async def act(traffic: Traffic) -> None:
        traffic.send_kind(kind)
        traffic.mix(2)

    return Scenario(act)


async def cancel(traffic: Traffic) -> None:
    order = traffic.send("canceled", "piapi", HELD_BEFORE)
    await traffic.until(order, *AT_PROVIDER)
    await traffic.service.ask("POST", f"/v1/tasks/{order.task_id}/cancel")


async def resubmit(traffic: Traffic) -> None:
    order = traffic.send_kind("broken (500)")
    # On a slow machine its deadline may have come before anybody looked.
    await traffic.until(order, "unconfirmed", "failed")
    await traffic.service.ask("POST", f"/v1/tasks/{order.task_id}/resubmit")


async def too_late(traffic: Traffic) -> None:
    await traffic.until(traffic.send("too late", "piapi", HELD), "failed")


async def cut_stream(traffic: Traffic) -> None:
    await traffic.until(traffic.send("stream cut", "stream", HELD), *AT_PROVIDER)


async def to_the_broken_one(traffic: Traffic) -> None:
    traffic.send("for the broken one", "piapi", "delay=0.02", metadata={"for": "broken"})
    traffic.mix(2)


async def retry(traffic: Traffic) -> None:
    await to_the_broken_one(traffic)
    found: list[dict[str, str]] = []
    while not found:
        listing = await traffic.service.ask("GET", "/v1/deliveries", params={"limit": "1", "status": "dead"})
        found = listing.json()["data"]
    await traffic.service.ask("POST", f"/v1/deliveries/{found[0]['id']}/retry")


async def subscription(traffic: Traffic, name: str) -> str:
    listing = (await traffic.service.ask("GET", "/v1/subscriptions")).json()["data"]
    return next(str(item["id"]) for item in listing if item["description"] == name)


async def ping(traffic: Traffic) -> None:
    await traffic.service.ask("POST", f"/v1/subscriptions/{await subscription(traffic, 'other')}/ping")


async def replay(traffic: Traffic) -> None:
    await traffic.until(traffic.send_kind("plain"), "completed")
    latest = (await traffic.service.ask("GET", "/v1/events/latest", params={"limit": "1"})).json()
    address = f"/v1/subscriptions/{await subscription(traffic, 'other')}/replay"
    await traffic.service.ask("POST", address, json={"after": max(0, latest[0]["seq"] - REPLAYED)})


async def change(traffic: Traffic) -> None:
    address = f"/v1/subscriptions/{await subscription(traffic, 'other')}"
    await traffic.service.ask("PATCH", address, json={"enabled": True})


async def come_and_go(traffic: Traffic) -> None:
    body = {"url": f"{traffic.subscriber_url}/other", "filter": {"metadata": {"for": "nobody"}}}
    made = (await traffic.service.ask("POST", "/v1/subscriptions", json=body)).json()
    await traffic.service.ask("DELETE", f"/v1/subscriptions/{made['id']}")


async def ready(traffic: Traffic) -> None:
    await traffic.service.ask("GET", "/readyz")


SCENARIOS: dict[Point, Scenario] = {
    # Its deadline is short, so it comes first: nothing else may be open then.
    Point.DEADLINE: Scenario(too_late, settings={"TASK_DEADLINE": "0.5"}),
    Point.ADD_TASK: Scenario(just_traffic),
    Point.CLAIM_TASK: Scenario(just_traffic),
    Point.SUBMIT_ANSWER: Scenario(just_traffic),
    Point.GIVE_BACK: with_kind("busy (429)"),
    Point.CALLBACK: with_kind("called twice"),
    Point.LOG_CALLBACK: with_kind("called with a wrong secret"),
    Point.HOLD: with_kind("stream"),
    Point.SWEEP: with_kind("never called"),
    Point.SWEEP_AGAIN: with_kind("never called"),
    Point.CANCEL: Scenario(cancel),
    Point.RESUBMIT: Scenario(resubmit),
    Point.RECOVER: Scenario(just_traffic, before=cut_stream),
    Point.CHECK_ALL: Scenario(just_traffic),
    Point.CLAIM_CHECKS: with_kind("never called"),
    Point.JOIN: Scenario(just_traffic),
    # The one that was killed before.
    Point.REMOVE_WORKER: Scenario(just_traffic),
    Point.KEEP_KEY: Scenario(just_traffic),
    Point.RECORD_ATTEMPT: with_kind("plain"),
    Point.CLAIM_DELIVERIES: Scenario(to_the_broken_one),
    Point.RETRY_DELIVERY: Scenario(retry),
    Point.PING_SUBSCRIPTION: Scenario(ping),
    Point.REPLAY: Scenario(replay),
    Point.ADD_SUBSCRIPTION: Scenario(come_and_go),
    Point.CHANGE_SUBSCRIPTION: Scenario(change),
    Point.REMOVE_SUBSCRIPTION: Scenario(come_and_go),
    Point.BURY: Scenario(come_and_go),
    Point.CLAIM_COPIES: with_kind("plain"),
    Point.PUT_BACK_COPY: with_kind("file fails once"),
    Point.CHANGE_COPIES: with_kind("plain"),
    Point.TIDY: Scenario(just_traffic),
    Point.PING: Scenario(ready),
}
