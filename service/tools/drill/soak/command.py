"""`python -m service drill --soak`: run it, show a line for each minute, end with 1 when something grew or was lost."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import click

from service.tools.drill.soak.run import Sample, Soak


def run_soak(minutes: float, rate: float) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="callbridge-soak-"))
    click.echo(
        f"Soak: {rate:g} tasks a second for {minutes:g} minutes; three of a hundred callbacks are lost, one\n"
        "receiver is slow, another hangs, and five streams are not read. Right: memory and open files stay flat, and\n"
        "everything finishes.\n"
    )
    click.echo(f"  {'second':>8}{'memory':>10}{'files':>8}{'WAL':>10}{'accepted':>11}{'open':>8}")
    result = asyncio.run(Soak(minutes * 60, rate, show).run(folder))
    complaints = result.complaints()
    for complaint in complaints:
        click.echo(click.style(f"  {complaint}", fg="red"))
    if complaints:
        click.echo(f"\nThe database and the logs are kept in {folder}")
        return False
    click.echo(click.style(f"  all {len(result.accepted)} tasks finished", bold=True, fg="green"))
    shutil.rmtree(folder, ignore_errors=True)
    return True


def show(sample: Sample) -> None:
    click.echo(
        f"  {sample.second:>8.0f}{sample.memory_mb:>7.0f} MB{sample.files:>8}{sample.wal_mb:>7.1f} MB"
        f"{sample.accepted:>11}{sample.open_tasks:>8}"
    )
