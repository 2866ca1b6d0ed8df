"""`make demo`: an application of its own. It is client and receiver, and uses the service over HTTP only."""

import asyncio
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from service.tools.demo.console import PATIENCE, Console, StepFailed
from service.tools.demo.processes import Running, running
from service.tools.demo.receiver import DemoReceiver
from service.tools.demo.steps import TASKS, Demo
from service.tools.harness.serving import serving

KEEP = """
Everything keeps running until Ctrl-C. Open the page signed in (once, within ten minutes):
  {link}
  the API, and its description   {url}/docs
  its key (admin)                {key}
  the sandbox providers         {providers}
Try:
  curl -H 'X-API-Key: {key}' {url}/v1/tasks
  curl -H 'X-API-Key: {key}' {url}/v1/events/latest
  curl -N -H 'X-API-Key: {key}' -H 'Accept: text/event-stream' '{url}/v1/events?after=0'
"""


def main(keep: bool, tasks: Sequence[dict[str, Any]] = TASKS) -> int:
    """Returns the exit code: 0 when every step succeeded."""
    console = Console()
    # Ends like Ctrl-C: both processes are stopped, the folder is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="callbridge-demo-") as folder:
            return asyncio.run(_run(console, Path(folder), keep, tasks))
    except KeyboardInterrupt:
        console.say("\nStopped.")
        return 0 if keep else 130


async def _run(console: Console, folder: Path, keep: bool, tasks: Sequence[dict[str, Any]]) -> int:
    async with running(folder) as parts:
        try:
            await _demo(console, parts, keep, tasks)
        except (StepFailed, httpx.HTTPError) as error:
            console.say(f"\nThe demo stops here. {error}\n\nThe end of the service's log:\n{parts.log('service')}")
            return 1
    return 0


async def _demo(console: Console, parts: Running, keep: bool, tasks: Sequence[dict[str, Any]]) -> None:
    await parts.ready()
    subscriber = DemoReceiver()
    headers = {"Authorization": f"Bearer {parts.key}"}
    async with (
        serving(subscriber.app) as hook,
        httpx.AsyncClient(base_url=parts.service, headers=headers, timeout=PATIENCE, trust_env=False) as client,
        httpx.AsyncClient(base_url=parts.service, timeout=PATIENCE, trust_env=False) as anybody,
    ):
        console.say("Callbridge between sandbox providers and a webhook receiver, all on this machine.\n")
        console.say(f"  PiAPI and ModelsLab sandbox  {parts.providers}")
        console.say(f"  Callbridge                   {parts.service}")
        console.say(f"  webhook receiver             {hook}/hook")
        demo = Demo(console, client, anybody, subscriber)
        await demo.subscribe(f"{hook}/hook")
        for body in tasks:
            await demo.task(body)
        await demo.forged_calls(parts.providers)
        await demo.check_totals(len(tasks))
        if keep:
            console.say(
                KEEP.format(url=parts.service, key=parts.key, providers=parts.providers, link=parts.sign_in_link())
            )
            await asyncio.Event().wait()
