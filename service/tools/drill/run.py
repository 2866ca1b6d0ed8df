"""The drill from its first start to its account."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.core.points import Point
from service.tools.drill.account import Account, make_account, read_books
from service.tools.drill.scenes import SCENES, Scene
from service.tools.drill.subscriber import CountingSubscriber
from service.tools.drill.traffic import Traffic
from service.tools.drill.victim import PATIENCE, Victim
from service.tools.harness.serving import serving
from service.tools.sandbox.app import create_sandbox

MOMENTS = ("before", "after")
# Short waits, so that what a kill interrupts is found again within the drill.
SETTINGS = {
    "SWEEP_AFTER": "0.4",
    "RETRY_SCHEDULE": "0.05,0.1,0.2,0.5,1,2,4",
    "DELIVERY_TIMEOUT": "5",
    "PIAPI_MAX_INFLIGHT": "100",
    "MODELSLAB_MAX_INFLIGHT": "100",
}
CALLBACK_RETRY = 0.3
# A random kill comes this long after the service answers, at most.
LONGEST_LIFE = 0.6
SETTLE = 90.0


@dataclass(slots=True)
class Result:
    kills: int = 0
    not_reached: list[str] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    settled: bool = True

    @property
    def passed(self) -> bool:
        return self.account.clean and not self.not_reached and self.settled


class Drill:
    def __init__(
        self, folder: Path, points: Sequence[Point], random_kills: int, seed: int, say: Callable[[str, bool], None]
    ) -> None:
        """`say` hears each kill and whether it came as planned."""
        self.folder = folder
        self.points = points
        self.random_kills = random_kills
        self.chance = random.Random(seed)  # noqa: S311 - a drill, not a secret
        self.say = say
        self.result = Result()

    async def run(self) -> Result:
        """Provider and subscriber live in this process, so that they outlive every kill and count honestly."""
        subscriber = CountingSubscriber(self.chance)
        sandbox = create_sandbox(callback_retry=CALLBACK_RETRY)
        async with (
            serving(sandbox) as provider_url,
            serving(subscriber.app()) as subscriber_url,
            Victim(self.folder, provider_url, SETTINGS) as victim,
        ):
            # A killed service cuts requests in their middle; that is no news here.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            traffic = Traffic(victim, provider_url, subscriber_url, self.chance)
            await victim.start()
            await subscribe(victim, subscriber_url)
            await self._kill(victim)
            for point in self.points:
                for moment in MOMENTS:
                    await self._kill_at(victim, traffic, SCENES[point], f"{moment}:{point}")
            for _ in range(self.random_kills):
                await self._kill_whenever(victim, traffic)
            await victim.start()
            self.result.settled = await settle(victim, traffic)
            self.result.account = make_account(await read_books(traffic), subscriber, victim.results)
        return self.result

    async def _kill_at(self, victim: Victim, traffic: Traffic, scene: Scene, point: str) -> None:
        if scene.before is not None:
            await victim.start()
            await scene.before(traffic)
            await self._kill(victim)
        reached = True
        if await victim.start(point, **scene.settings):
            acting = asyncio.create_task(scene.act(traffic))
            try:
                async with asyncio.timeout(PATIENCE):
                    await victim.ended()
            except TimeoutError:
                reached = False
                self.result.not_reached.append(point)
                victim.kill()
            finally:
                await _end(acting)
        self.result.kills += 1
        self.say(point, reached)

    async def _kill_whenever(self, victim: Victim, traffic: Traffic) -> None:
        traffic.mix(4)
        await victim.start()
        life = self.chance.uniform(0, LONGEST_LIFE)
        await asyncio.sleep(life)
        await self._kill(victim)
        self.say(f"{life * 1000:.0f} ms", True)

    async def _kill(self, victim: Victim) -> None:
        victim.kill()
        await victim.ended()
        self.result.kills += 1


async def subscribe(victim: Victim, url: str) -> None:
    for name, wanted in (("main", {}), ("other", {}), ("broken", {"metadata": {"for": "broken"}})):
        body = {"url": f"{url}/{name}", "description": name, "filter": wanted}
        (await victim.ask("POST", "/v1/subscriptions", json=body)).raise_for_status()


async def settle(victim: Victim, traffic: Traffic) -> bool:
    """Let the service finish what it can: all that the provider knows, and every delivery. False: not in time."""
    try:
        async with asyncio.timeout(SETTLE):
            await traffic.all_sent()
            await traffic.open_the_gate()
            while not all(one.settled for one in await read_books(traffic)):
                await asyncio.sleep(0.3)
            while await victim.pages("/v1/deliveries", status="pending"):
                await asyncio.sleep(0.3)
    except TimeoutError:
        return False
    return True


async def _end(acting: asyncio.Task[None]) -> None:
    acting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await acting
