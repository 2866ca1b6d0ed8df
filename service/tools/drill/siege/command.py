"""`python -m service drill --siege`: run every attack, and show how a bystander and the memory fared."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import click

from service.tools.drill.siege import callbacks, owners, receivers, strangers
from service.tools.drill.siege.attack import MAX_MB, MAX_WAIT, Attack, AttackResult, play

ATTACKS: tuple[Attack, ...] = (*strangers.ATTACKS, *owners.ATTACKS, *callbacks.ATTACKS, *receivers.ATTACKS)


def run_siege(only: str) -> bool:
    """`only`: a part of the names of the attacks to play."""
    folder = Path(tempfile.mkdtemp(prefix="callbridge-siege-"))
    attacks = [attack for attack in ATTACKS if only.lower() in attack.name.lower()]
    click.echo(
        f"Siege: {len(attacks)} attacks, each on a fresh service, while a bystander reads and submits.\n"
        f"Passed: it waits less than {MAX_WAIT:g} s and is never refused, and the service stays under {MAX_MB} MB.\n"
    )
    click.echo(f"  {'what is tried':<54}{'worst wait':>11}{'peak':>9}")
    results = asyncio.run(_play(attacks, folder))
    passed = len(results) == len(attacks) and all(result.passed() for result in results)
    if results:
        peak, worst = max(one.peak_mb for one in results), max(one.seen.worst for one in results)
        click.echo(click.style(f"  {'all of it':<54}{worst:>9.2f} s{peak:>6.0f} MB", bold=True))
    if passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        click.echo(f"\nThe logs are kept in {folder}")
    return passed


async def _play(attacks: list[Attack], folder: Path) -> list[AttackResult]:
    results = []
    for n, attack in enumerate(attacks):
        own = folder / str(n)
        own.mkdir()
        click.echo(f"  {attack.name:<54}", nl=False)
        try:
            result = await play(attack, own)
        except Exception as error:
            click.echo(click.style(f"FAILED: {type(error).__name__}: {error}", fg="red"))
            continue
        results.append(result)
        line = f"{result.seen.worst:>9.2f} s{result.peak_mb:>6.0f} MB   {result.seen.worst_of}"
        click.echo(click.style(line, fg="green" if result.passed() else "red"))
        if result.seen.refused:
            click.echo(f"    refused: {result.seen.refused}")
    return results
