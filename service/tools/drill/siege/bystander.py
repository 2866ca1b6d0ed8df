"""A well-behaved caller in a process of its own: how long does it wait while others misbehave?

`python -m service.tools.drill.siege.bystander URL KEY` asks until its standard input is closed, then prints what it saw
as JSON.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

import httpx

from service.tools.drill.siege.target import IMG, SiegeTarget, key_of

PAUSE = 0.05
TIMEOUT = 30.0
# One in so many requests is a submit.
SUBMITS = 10


@dataclass(slots=True)
class BystanderReport:
    """`worst` is in seconds; `refused` counts statuses of 400 and above, and connections that broke."""

    requests: int = 0
    worst: float = 0.0
    worst_of: str = ""
    refused: dict[str, int] = field(default_factory=dict)


@asynccontextmanager
async def bystander(target: SiegeTarget) -> AsyncIterator[BystanderReport]:
    """Asks beside the block; what it yields is filled in at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, target.url, key_of("bystander"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    await process.stdout.readline()  # it has begun
    seen = BystanderReport()
    try:
        yield seen
    finally:
        output, _ = await process.communicate(b"")
        found = BystanderReport(**json.loads(output))
        for name in BystanderReport.__slots__:
            setattr(seen, name, getattr(found, name))


async def main(url: str, key: str) -> None:
    seen = BystanderReport()
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=TIMEOUT, trust_env=False) as client:
        for n in itertools.count():
            await one(client, seen, n)
            if n == 0:
                print("begun", flush=True)
            if ended.done():
                break
            await asyncio.sleep(PAUSE)
    print(json.dumps(asdict(seen)))


async def one(client: httpx.AsyncClient, seen: BystanderReport, n: int) -> None:
    kind = "submit" if n % SUBMITS == SUBMITS - 1 else ("list", "health")[n % 2]
    began = time.monotonic()
    try:
        if kind == "submit":
            body = {**IMG, "input": {"prompt": "a dog [sandbox: delay=0.1]"}}
            status = (await client.post("/v1/tasks", json=body)).status_code
        elif kind == "list":
            status = (await client.get("/v1/tasks", params={"limit": 5})).status_code
        else:
            status = (await client.get("/healthz")).status_code
        outcome = str(status) if status >= 400 else ""
    except httpx.TransportError as error:
        outcome = type(error).__name__
    waited = time.monotonic() - began
    seen.requests += 1
    if outcome:
        seen.refused[f"{kind} {outcome}"] = seen.refused.get(f"{kind} {outcome}", 0) + 1
    if waited > seen.worst:
        seen.worst, seen.worst_of = waited, kind


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
