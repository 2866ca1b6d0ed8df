"""`python -m service drill`: run it, print the audit, exit with 1 when something was lost."""

import asyncio
import random
import shutil
import tempfile
import time
from pathlib import Path

import click

from service.core.points import Point
from service.tools.drill.cluster import ClusterDrill
from service.tools.drill.run import Drill, DrillResult
from service.tools.drill.scenarios import SCENARIOS
from service.tools.postgres import PostgresServer

# Committed is on disk: the drill crashes the server on purpose.
DURABLE = ("fsync=on", "full_page_writes=on")


def run_cluster_drill(processes: int, kills: int, seed: int | None) -> bool:
    seed = random.randrange(10**6) if seed is None else seed  # noqa: S311 - a drill, not a secret
    folder = Path(tempfile.mkdtemp(prefix="callbridge-drill-"))
    click.echo(
        f"Kill drill on PostgreSQL: {processes} processes at one port; {kills} times one of them gets SIGKILL, and once"
        f" the\ndatabase server crashes (seed {seed}).\n"
    )
    server = PostgresServer(folder / "postgres", DURABLE)
    server.create()
    server.start()
    screen = Screen()
    started = time.monotonic()
    try:
        result = asyncio.run(ClusterDrill(server, processes, kills, seed, screen.kill).run(folder))
    finally:
        server.stop()
    screen.end()
    show(result, time.monotonic() - started)
    if result.passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        click.echo(f"\nThe database and the service's log are kept in {folder}")
    return result.passed


def run_drill(random_kills: int, seed: int | None, points: str) -> bool:
    chosen = chosen_points(points)
    seed = random.randrange(10**6) if seed is None else seed  # noqa: S311 - a drill, not a secret
    folder = Path(tempfile.mkdtemp(prefix="callbridge-drill-"))
    click.echo(
        "Kill drill: a real service with a file of its own, a misbehaving sandbox provider, an unreliable receiver.\n"
        f"SIGKILL before and after each of {len(chosen)} commit points and at {random_kills} random moments"
        f" (seed {seed}).\n"
    )
    screen = Screen()
    started = time.monotonic()
    result = asyncio.run(Drill(folder, chosen, random_kills, seed, screen.kill).run())
    screen.end()
    show(result, time.monotonic() - started)
    if result.passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        click.echo(f"\nThe database and the service's log are kept in {folder}")
    return result.passed


def chosen_points(text: str) -> list[Point]:
    """Raises click.BadParameter."""
    if text == "all":
        return list(SCENARIOS)
    if text == "none":
        return []
    try:
        return [Point(name.strip()) for name in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{error}; the points are: {', '.join(SCENARIOS)}") from None


# Random moments on one line.
ON_A_LINE = 7


class Screen:
    """One line for each commit point, and a few for the random moments."""

    def __init__(self) -> None:
        self._line = ""
        self._on_line = 0

    def kill(self, what: str, as_planned: bool) -> None:
        moment, _, point = what.rpartition(":")
        line = point if moment else "at random moments"
        if line != self._line or self._on_line == ON_A_LINE:
            click.echo(f"{chr(10) if self._line else ''}  {'' if line == self._line else line:<22}", nl=False)
            self._line, self._on_line = line, 0
        self._on_line += 1
        shown = click.style(f"{moment} ✓", fg="green") if moment else f"{point:>6}"
        click.echo(f"{shown}   " if as_planned else click.style(f"{moment} NOT REACHED   ", fg="red"), nl=False)

    def end(self) -> None:
        if self._line:
            click.echo("\n")


def show(result: DrillResult, seconds: float) -> None:
    audit = result.audit
    finished = ", ".join(f"{count} {status}" for status, count in audit.finished.most_common())
    row("killed and restarted", result.kills, f"in {seconds:.0f} s")
    row("accepted with 202", audit.accepted)
    row("accepted by the provider", audit.submitted, "each of them is charged")
    row("finished here", sum(audit.finished.values()), finished)
    if audit.streams_cut:
        row("  streams cut", audit.streams_cut, "a held stream ends with its process; reported as stream_interrupted")
    row("unconfirmed, not there", audit.unconfirmed_unpaid, "perhaps sent: reported, and never resent automatically")
    if audit.unconfirmed_paid:
        row(
            "unconfirmed, charged",
            audit.unconfirmed_paid,
            "its only callback met a kill, and there is no history",
        )
    row("callbacks acknowledged", audit.calls_acknowledged)
    row("finish events", audit.events)
    row("delivered", audit.delivered)
    row("delivered again", audit.delivered_again, "same webhook-id: the kill came between their 2xx and our commit")
    row("files copied", audit.copies)
    verdict("reported twice", len(audit.told_twice))
    verdict("paid twice", len(audit.paid_twice))
    verdict("lost", len(audit.lost))
    complain(result)


def row(name: str, count: int, remark: str = "") -> None:
    click.echo(f"  {name:<24}{count:>6}   {click.style(remark, dim=True)}".rstrip())


def verdict(name: str, count: int) -> None:
    click.echo(click.style(f"  {name:<24}{count:>6}", bold=True, fg="red" if count else "green"))


def complain(result: DrillResult) -> None:
    for name, losses in result.audit.lost.items():
        click.echo(f"  lost: {name}: {'; '.join(losses)}")
    for name in result.audit.paid_twice:
        click.echo(f"  paid twice: {name}")
    for name in result.audit.told_twice:
        click.echo(f"  reported twice:  {name}")
    for point in result.not_reached:
        click.echo(f"  never reached: {point}")
    if not result.settled:
        click.echo("  the service did not settle in time")
