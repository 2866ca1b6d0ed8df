"""The main job as a client sees it: submit, follow, receive the webhook, fetch the result; and forged calls."""

import asyncio
from typing import Any

import httpx

from service.tools.demo.console import Console, StepFailed, expect, within
from service.tools.demo.receiver import DemoReceiver

TASKS: tuple[dict[str, Any], ...] = (
    {
        "provider": "piapi",
        "model": "Qubico/flux1-schnell",
        "task_type": "txt2img",
        # PiAPI sometimes sends the finish twice.
        "input": {"prompt": "a little cat [sandbox: delay=0.8 callback=twice]", "width": 512, "height": 512},
        "metadata": {"order": "A-17"},
    },
    {
        "provider": "modelslab",
        "model": "flux",
        "task_type": "img2img",
        "input": {
            "prompt": "the cat in oil [sandbox: delay=0.8]",
            "init_image": "https://example.com/cat.png",
            "width": "512",
            "height": "512",
            "samples": "1",
        },
        "metadata": {"order": "A-18"},
    },
)
LIE = {"timestamp": 1, "data": {"task_id": "x", "status": "completed", "output": {"image_url": "https://evil.example"}}}
PROOF = {"piapi": "token and secret", "modelslab": "token and track_id"}


class Demo:
    """`client` has the API key, `anybody` has none."""

    def __init__(
        self, console: Console, client: httpx.AsyncClient, anybody: httpx.AsyncClient, subscriber: DemoReceiver
    ) -> None:
        self.console = console
        self.client = client
        self.anybody = anybody
        self.subscriber = subscriber
        self._printing = asyncio.Lock()
        self._printed: set[int] = set()

    async def subscribe(self, url: str) -> None:
        made = expect(await self.client.post("/v1/subscriptions", json={"url": url}), 201).json()
        self.subscriber.secret = made["secret"]

    async def task(self, body: dict[str, Any]) -> None:
        self.console.chapter(f"{body['provider']}, {body['model']}, {body['task_type']}")
        task = expect(await self.client.post("/v1/tasks", json=body), 202).json()
        self.console.step("submit", f"202, {task['id']} is on disk")
        streaming = asyncio.create_task(self._follow(task))
        async with within("The webhook about the end of the task"):
            event = await self.subscriber.events.get()
        if event["data"]["id"] != task["id"] or event["type"] != "task.completed":
            raise StepFailed(f"The webhook reported {event['type']} of {event['data']['id']} instead.")
        await self._print_callbacks(task)
        order = event["data"]["metadata"]["order"]
        self.console.step("webhook", f"{event['type']} of order {order}, the signature is good")
        async with within("The end of the stream"):
            await streaming
        url = event["data"]["output"]["urls"][0]
        picture = expect(await self.client.get(url), 200)
        self.console.step("result", f"{picture.headers['content-type']}, {len(picture.content)} bytes at {url}")
        if "callback=twice" in body["input"]["prompt"]:
            async with within("The second callback about the same finish"):
                while "repeated" not in await self._print_callbacks(task):
                    await asyncio.sleep(0.02)

    async def _follow(self, task: dict[str, Any]) -> None:
        """The task's own stream, opened by its signed link; it ends with the task."""
        async with self.anybody.stream("GET", task["links"]["stream"]) as response:
            async for line in response.aiter_lines():
                if line.startswith("event:"):
                    await self._print_callbacks(task)
                    self.console.step("stream", line.removeprefix("event:").strip())

    async def _print_callbacks(self, task: dict[str, Any]) -> set[str]:
        """Print received callbacks not printed yet; returns the results of all."""
        async with self._printing:
            calls = expect(await self.client.get("/v1/callbacks", params={"task_id": task["id"]}), 200).json()["data"]
            for call in reversed(calls):
                if call["id"] not in self._printed:
                    self._printed.add(call["id"])
                    self.console.step("callback", _about(call))
        return {call["result"] for call in calls}

    async def forged_calls(self, sandbox_url: str) -> None:
        self.console.chapter("forged calls")
        expect(await self.anybody.post("/webhooks/piapi/made-up-token", json=LIE), 404)
        self.console.step("refused", "404 for a made-up callback address")
        requests = (await self.anybody.get(f"{sandbox_url}/sandbox/requests")).json()["requests"]
        expect(await self.anybody.post(_callback_address(requests), json=LIE), 401)
        self.console.step("refused", "401 for the right address without its secret")
        expect(await self.anybody.get("/v1/tasks", headers={"X-API-Key": "a-guess"}), 401)
        self.console.step("refused", "401 for a guessed API key")

    async def check_totals(self, wanted: int) -> None:
        """Each of `wanted` tasks was delivered once, and everything is stored."""
        async with within("The end of every delivery"):
            while (await self._deliveries("pending")) > 0:
                await asyncio.sleep(0.02)
        delivered = await self._deliveries("delivered")
        if delivered != wanted:
            raise StepFailed(f"{delivered} deliveries arrived; expected {wanted}.")
        events = expect(await self.client.get("/v1/events"), 200).json()["data"]
        self.console.say(f"\nDone: {wanted} tasks, {len(events)} events stored, {delivered} webhooks delivered.")

    async def _deliveries(self, status: str) -> int:
        response = expect(await self.client.get("/v1/deliveries", params={"status": status}), 200)
        return len(response.json()["data"])


def _about(call: dict[str, Any]) -> str:
    if call["result"] == "repeated":
        return "the same again: nothing changes, no second event"
    return f"{call['result']}, {PROOF[call['provider']]} are right"


def _callback_address(requests: list[dict[str, Any]]) -> str:
    """The callback address that the sandbox's PiAPI received."""
    for request in requests:
        if request["path"] == "/api/v1/task":
            return str(request["body"]["config"]["webhook_config"]["endpoint"])
    raise StepFailed("The sandbox has no PiAPI task.")
