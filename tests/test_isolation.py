"""One slow or dead subscriber costs the others nothing."""

import asyncio

from starlette.responses import Response

from service.workers.delivery_limiter import LIMITS, Standing
from tests.conftest import Service, Subscriber, running, txt2img


def hanging(subscriber: Subscriber) -> asyncio.Event:
    """Paths under /hang answer only after the event is set."""
    release = asyncio.Event()

    async def wait() -> Response:
        await release.wait()
        return Response(status_code=204)

    subscriber.answer = lambda request, body: wait() if "hang" in request.url.path else Response(status_code=204)
    return release


async def test_callback_addresses_that_hang_do_not_delay_another_on_the_same_host(
    service: Service, subscriber: Subscriber
) -> None:
    release = hanging(subscriber)
    base = subscriber.url.removesuffix("/hook")
    for number in range(30):
        await service.submit(txt2img("delay=0.01", callback_url=f"{base}/hang/{number}"))
    healthy = await service.submit(txt2img("delay=0.01", callback_url=f"{base}/well"))
    await subscriber.until(lambda: any(event["data"]["id"] == healthy["id"] for event in subscriber.events))
    release.set()


async def test_a_host_has_a_limit_over_all_callback_addresses_and_every_one_gets_its_turn(
    env: dict[str, str], subscriber: Subscriber
) -> None:
    release = hanging(subscriber)
    base = subscriber.url.removesuffix("/hook")
    # On a slow machine the last of them come after many seconds: the first ones must still be held then.
    async with running(env | {"DELIVERY_TIMEOUT": "120"}) as service:
        for number in range(LIMITS[Standing.CALLBACK] + 10):
            await service.submit(txt2img("instant=1", callback_url=f"{base}/hang/{number}"))
        await subscriber.count(LIMITS[Standing.CALLBACK])
        release.set()
        await subscriber.count(LIMITS[Standing.CALLBACK] + 10)
    assert subscriber.most_parallel <= LIMITS[Standing.CALLBACK]


async def test_a_hanging_subscription_has_eight_in_parallel_and_delays_no_other(
    service: Service, subscriber: Subscriber
) -> None:
    release = hanging(subscriber)
    base = subscriber.url.removesuffix("/hook")
    for path in ("/hang", "/well"):
        assert (await service.client.post("/v1/subscriptions", json={"url": base + path})).status_code == 201
    tasks = [await service.submit(txt2img("instant=1")) for _ in range(20)]

    def well() -> set[str]:
        seen = zip(subscriber.requests, subscriber.events, strict=True)
        return {event["data"]["id"] for path, event in seen if path == "/well"}

    await subscriber.until(lambda: well() == {task["id"] for task in tasks})
    assert sum(path == "/hang" for path in subscriber.requests) == 8
    release.set()


async def test_both_old_secrets_sign_when_a_secret_is_rotated_twice(service: Service, subscriber: Subscriber) -> None:
    made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    for _ in range(2):
        assert (await service.client.post(f"/v1/subscriptions/{made['id']}/rotate-secret")).status_code == 200
    await service.client.post(f"/v1/subscriptions/{made['id']}/ping")
    headers, _ = subscriber.received[0]
    assert headers["webhook-signature"].count("v1,") == 3
