"""Attacks by a provider, whose callbacks are signed and large."""

import asyncio

from service.tools.drill.siege.attack import Attack
from service.tools.drill.siege.target import SiegeTarget

# Base64 of a picture, a little under the largest callback.
LARGE = 27_000_000


async def four_large_callbacks(target: SiegeTarget) -> None:
    """Each is taken in its turn, or asked to come again."""
    addresses = await _addresses(target, 4)
    picture = b"iVBORw0KGgo" + b"A" * LARGE

    async def call(task_id: str, url: str, secret: str) -> int:
        body = b'{"data":{"task_id":"%b","status":"completed","output":{"image_base64":"%b"}}}'
        content = body % (task_id.encode(), picture)
        return (await target.client.post(url, content=content, headers={"x-webhook-secret": secret})).status_code

    statuses = await asyncio.gather(*(call(*address) for address in addresses))
    assert 200 in statuses, statuses
    assert set(statuses) <= {200, 503}, statuses


async def _addresses(target: SiegeTarget, count: int) -> list[tuple[str, str, str]]:
    """Of tasks that the provider has: their ids there, callback addresses and secrets."""
    for _ in range(count):
        assert (await target.submit(how="queue=gate")).status_code == 202
    submitted: list[str] = []
    while len(submitted) < count:
        events = await target.client.get("/v1/events?types=task.submitted", headers=target.key("careless"))
        submitted = [event["data"]["provider_task_id"] for event in events.json()["data"]]
        await asyncio.sleep(0.05)
    requests = (await target.client.get(f"{target.providers}/sandbox/requests")).json()["requests"]
    hooks = [one["body"]["config"]["webhook_config"] for one in requests if one["method"] == "POST"]
    return [(task, hook["endpoint"], hook["secret"]) for task, hook in zip(submitted, hooks, strict=True)]


ATTACKS = (Attack("4 callbacks of 27 MB at once", four_large_callbacks),)
