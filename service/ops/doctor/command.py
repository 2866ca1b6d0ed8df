"""`callbridge doctor`: checks a deployment and says what to do about each problem."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
import orjson

from service.command import load_dotenv_file
from service.ops.doctor import machine, network
from service.ops.doctor.check import Check, fail, ok, warn
from service.preflight import warnings
from service.settings import Settings, read_settings
from service.wire.diagnosis import Diagnosis

MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


@click.command("doctor", help="Check this deployment beside the running service; ends with 1 when something fails.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    load_dotenv_file()
    found = asyncio.run(_all(show=not as_json))
    if as_json:
        click.echo(orjson.dumps({"checks": [check.document() for check in found]}))
    if any(check.status == "fail" for check in found):
        sys.exit(1)


async def _all(show: bool) -> list[Check]:
    found = []
    async for check in _checks():
        found.append(check)
        if show:
            mark, color = MARKS[check.status]
            click.echo(f"{click.style(mark, fg=color)}  {check.name:11} {check.detail}")
    return found


async def _checks() -> AsyncIterator[Check]:
    settings, wrong = read_settings(os.environ)
    for one in wrong:
        yield fail("settings", str(one))
    if wrong:
        return
    complaints = list(warnings(settings))
    for sentence in complaints:
        yield warn("settings", sentence)
    if not complaints:
        yield ok("settings", "every setting can be read")
    async for check in _of_the_deployment(settings):
        yield check


async def _of_the_deployment(settings: Settings) -> AsyncIterator[Check]:
    if settings.sqlite_path is not None:
        checks, examination = await asyncio.to_thread(machine.sqlite, settings.sqlite_path)
        checks.append(machine.disk("disk", Path(settings.sqlite_path)))
        checks.append(machine.media(Path(settings.media_dir)))
    else:
        checks, examination = await machine.postgres(settings.database_url)
    for check in checks:
        yield check
    diagnosis = None
    if examination is not None and examination.secret is not None:
        diagnosis = Diagnosis(examination.secret)
    async with network.client() as http:
        for check in await network.public_url(http, settings.public_url, diagnosis):
            yield check
        accounts = [await network.piapi(http, settings), await network.modelslab(http, settings)]
        for check, _ in accounts:
            yield check
        yield network.clock([response for _, response in accounts if response is not None])
    yield await machine.results(settings)
