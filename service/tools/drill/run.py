"""Runs the drill, from the first start to the audit."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.core.points import Point
from service.tools.drill.audit import Audit, audit_orders, read_records
from service.tools.drill.killable_service import PATIENCE, KillableService
from service.tools.drill.receiver import CountingReceiver
from service.tools.drill.scenarios import SCENARIOS, Scenario
from service.tools.drill.traffic import Traffic
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
class DrillResult:
    kills: int = 0
    not_reached: list[str] = field(default_factory=list)
    audit: Audit = field(default_factory=Audit)
    settled: bool = True

    @property
    def passed(self) -> bool:
        return self.audit.clean and not self.not_reached and self.settled


class Drill:
    def __init__(
        self, folder: Path, points: Sequence[Point], random_kills: int, seed: int, say: Callable[[str, bool], None]
    ) -> None:
        """`say` gets each kill and whether it came as planned."""
        self.folder = folder
        self.points = points
        self.random_kills = random_kills
        self.chance = random.Random(seed)  # noqa: S311 - a drill, not a secret
        self.say = say
        self.result = DrillResult()

    async def run(self) -> DrillResult:
        """Provider and receiver run in this process, so that they survive every kill and count correctly."""
        subscriber = CountingReceiver(self.chance)
        sandbox = create_sandbox(callback_retry=CALLBACK_RETRY)
        async with (
            serving(sandbox) as provider_url,
            serving(subscriber.app()) as subscriber_url,
            KillableService(self.folder, provider_url, SETTINGS) as service,
        ):
            # A killed service breaks connections: not worth logging here.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            traffic = Traffic(service, provider_url, subscriber_url, self.chance)
            await service.start()
            await subscribe(service, subscriber_url)
            await self._kill(service)
            for point in self.points:
                for moment in MOMENTS:
                    await self._kill_at(service, traffic, SCENARIOS[point], f"{moment}:{point}")
            for _ in range(self.random_kills):
                await self._kill_whenever(service, traffic)
            await service.start()
            self.result.settled = await settle(service, traffic)
            self.result.audit = audit_orders(await read_records(traffic), subscriber, service.results)
        return self.result

    async def _kill_at(self, service: KillableService, traffic: Traffic, scenario: Scenario, point: str) -> None:
        if scenario.before is not None:
            await service.start()
            await scenario.before(traffic)
            await self._kill(service)
        reached = True
        if await service.start(point, **scenario.settings):
            acting = asyncio.create_task(scenario.act(traffic))
            try:
                async with asyncio.timeout(PATIENCE):
                    await service.ended()
            except TimeoutError:
                reached = False
                self.result.not_reached.append(point)
                service.kill()
            finally:
                await _end(acting)
        self.result.kills += 1
        self.say(point, reached)

    async def _kill_whenever(self, service: KillableService, traffic: Traffic) -> None:
        traffic.mix(4)
        await service.start()
        life = self.chance.uniform(0, LONGEST_LIFE)
        await asyncio.sleep(life)
        await self._kill(service)
        self.say(f"{life * 1000:.0f} ms", True)

    async def _kill(self, service: KillableService) -> None:
        service.kill()
        await service.ended()
        self.result.kills += 1


async def subscribe(service: KillableService, url: str) -> None:
    for name, wanted in (("main", {}), ("other", {}), ("broken", {"metadata": {"for": "broken"}})):
        body = {"url": f"{url}/{name}", "description": name, "filter": wanted}
        (await service.ask("POST", "/v1/subscriptions", json=body)).raise_for_status()


async def settle(service: KillableService, traffic: Traffic) -> bool:
    """Let the service finish what it can: all that the provider knows, and every delivery. False: not in time."""
    try:
        async with asyncio.timeout(SETTLE):
            await traffic.all_sent()
            await traffic.open_the_gate()
            while not all(one.settled for one in await read_records(traffic)):
                await asyncio.sleep(0.3)
            while await service.pages("/v1/deliveries", status="pending"):
                await asyncio.sleep(0.3)
    except TimeoutError:
        return False
    return True


async def _end(acting: asyncio.Task[None]) -> None:
    acting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await acting
