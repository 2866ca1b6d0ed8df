"""`python -m service drill --siege`: play every attack, show what an innocent caller and the memory saw."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import click

from service.tools.drill.siege import callbacks, owners, receivers, strangers
from service.tools.drill.siege.scene import MAX_MB, MAX_WAIT, Result, Scene, play

SCENES: tuple[Scene, ...] = (*strangers.SCENES, *owners.SCENES, *callbacks.SCENES, *receivers.SCENES)


def run_siege(only: str) -> bool:
    """`only`: a part of the names of the scenes to play."""
    folder = Path(tempfile.mkdtemp(prefix="callbridge-siege-"))
    scenes = [scene for scene in SCENES if only.lower() in scene.name.lower()]
    click.echo(
        f"Siege: {len(scenes)} attacks, each on a fresh service, while an innocent caller asks and submits.\n"
        f"Right: it waits less than {MAX_WAIT:g} s and is never refused, and the service stays under {MAX_MB} MB.\n"
    )
    click.echo(f"  {'what is tried':<54}{'worst wait':>11}{'peak':>9}")
    results = asyncio.run(_play(scenes, folder))
    passed = len(results) == len(scenes) and all(result.passed() for result in results)
    if results:
        peak, worst = max(one.peak_mb for one in results), max(one.seen.worst for one in results)
        click.echo(click.style(f"  {'all of it':<54}{worst:>9.2f} s{peak:>6.0f} MB", bold=True))
    if passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        click.echo(f"\nThe logs are kept in {folder}")
    return passed


async def _play(scenes: list[Scene], folder: Path) -> list[Result]:
    results = []
    for n, scene in enumerate(scenes):
        own = folder / str(n)
        own.mkdir()
        click.echo(f"  {scene.name:<54}", nl=False)
        try:
            result = await play(scene, own)
        except Exception as error:
            click.echo(click.style(f"FAILED: {type(error).__name__}: {error}", fg="red"))
            continue
        results.append(result)
        line = f"{result.seen.worst:>9.2f} s{result.peak_mb:>6.0f} MB   {result.seen.worst_of}"
        click.echo(click.style(line, fg="green" if result.passed() else "red"))
        if result.seen.refused:
            click.echo(f"    refused: {result.seen.refused}")
    return results
