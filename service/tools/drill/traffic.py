"""The drill's traffic: tasks with every kind of trouble, each sent until acknowledged, under one idempotency key."""

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import httpx

from service.tools.drill.killable_service import KillableService

# What the sandbox does wrong; the keys are those of service/tools/sandbox/behaviour.py.
KINDS: dict[str, tuple[str, str]] = {
    "plain": ("piapi", "delay=0.1"),
    "called twice": ("piapi", "delay=0.05 callback=twice"),
    "called early": ("piapi", "callback=early answer_delay=0.1"),
    "never called": ("piapi", "delay=0.1 callback=none"),
    "called out of order": ("piapi", "delay=0.1 callback=late_processing"),
    "called with the opposite": ("piapi", "delay=0.1 callback=conflict"),
    "called with a wrong secret": ("piapi", "delay=0.05 callback=bad_secret"),
    "failed": ("piapi", "delay=0.1 fail=drill"),
    "response lost (500)": ("piapi", "delay=0.1 submit=accepted_500"),
    "response cut": ("piapi", "delay=0.1 submit=accepted_reset"),
    "response cut, never called": ("piapi", "delay=0.1 submit=accepted_reset callback=none"),
    "busy (429)": ("piapi", "delay=0.1 submit=429 retry_after=0.2 times=1"),
    "broken (500)": ("piapi", "delay=0.1 submit=500 times=1"),
    "reset": ("piapi", "delay=0.1 submit=reset times=1"),
    "slow response": ("piapi", "delay=0.3 answer_delay=0.3"),
    "image plain": ("modelslab", "delay=0.1"),
    "image called twice": ("modelslab", "delay=0.1 callback=twice"),
    "image called early": ("modelslab", "callback=early answer_delay=0.1"),
    "image never called": ("modelslab", "delay=0.1 callback=none"),
    "image at once": ("modelslab", "instant=1"),
    "image response lost": ("modelslab", "delay=0.1 submit=accepted_500"),
    "file fails once": ("piapi", "delay=0.05 file=500"),
    "file is a page once": ("modelslab", "delay=0.05 file=page"),
    "stream": ("stream", "delay=0.1"),
}
HELD = "delay=0.02 hold=gate"
HELD_BEFORE = "delay=0.02 queue=gate"


@dataclass(slots=True)
class Order:
    number: int
    kind: str
    # Every task id in a 202 for this order's Idempotency-Key; more than one is an error.
    ids: set[str] = field(default_factory=set)

    @property
    def task_id(self) -> str:
        (task_id,) = self.ids
        return task_id


class Traffic:
    def __init__(self, service: KillableService, sandbox_url: str, subscriber_url: str, chance: random.Random) -> None:
        self.service = service
        self.sandbox_url = sandbox_url
        self.subscriber_url = subscriber_url
        self.orders: list[Order] = []
        self._kinds = itertools.cycle(chance.sample(sorted(KINDS), len(KINDS)))
        self._sending: set[asyncio.Task[None]] = set()

    def mix(self, count: int) -> None:
        """Send the next `count` kinds; they go on being sent through kills."""
        for _ in range(count):
            kind = next(self._kinds)
            self.send(kind, *KINDS[kind])

    def send_kind(self, kind: str) -> Order:
        return self.send(kind, *KINDS[kind])

    def send(self, kind: str, provider: str, behaviour: str, **fields: Any) -> Order:
        order = Order(len(self.orders) + 1, kind)
        self.orders.append(order)
        body = body_of(provider, f"order {order.number}. [sandbox: {behaviour}]") | fields
        sending = asyncio.get_running_loop().create_task(self._send(order, body))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return order

    async def _send(self, order: Order, body: dict[str, Any]) -> None:
        """Until it is acknowledged, and every fourth once more: like a client that lost the response."""
        headers = {"Idempotency-Key": f"order-{order.number}"}
        wanted = 2 if order.number % 4 == 0 else 1
        while wanted:
            response = await self.service.ask("POST", "/v1/tasks", json=body, headers=headers)
            if response.status_code == httpx.codes.ACCEPTED:
                order.ids.add(response.json()["id"])
                wanted -= 1
            elif response.status_code == httpx.codes.CONFLICT:
                await asyncio.sleep(0.1)
            else:
                response.raise_for_status()

    async def all_sent(self) -> None:
        await asyncio.gather(*self._sending)

    async def until(self, order: Order, *statuses: str) -> dict[str, Any]:
        while True:
            if order.ids:
                task: dict[str, Any] = (await self.service.ask("GET", f"/v1/tasks/{order.task_id}")).json()
                if task["status"] in statuses:
                    return task
            await asyncio.sleep(0.03)

    async def open_the_gate(self) -> None:
        """Held tasks may finish from now on."""
        async with httpx.AsyncClient(base_url=self.sandbox_url, trust_env=False) as client:
            await client.post("/sandbox/release/gate")

    async def ledger(self) -> list[dict[str, Any]]:
        """Every task that the provider accepted, and so charges for, with the callbacks it sent and their responses."""
        async with httpx.AsyncClient(base_url=self.sandbox_url, trust_env=False) as client:
            tasks: list[dict[str, Any]] = (await client.get("/sandbox/ledger")).json()["tasks"]
            return tasks


def body_of(provider: str, prompt: str) -> dict[str, Any]:
    match provider:
        case "piapi":
            model, task_type, given = "Qubico/flux1-schnell", "txt2img", {"prompt": prompt}
        case "modelslab":
            model, task_type, given = "flux", "text2img", {"prompt": prompt, "width": "512", "height": "512"}
        case _:
            messages = [{"role": "user", "content": prompt}]
            return {
                "provider": "piapi",
                "model": "gpt-4o-image",
                "task_type": "chat-completions",
                "input": {"messages": messages},
            }
    return {"provider": provider, "model": model, "task_type": task_type, "input": given}
