"""`python -m service copy`: everything of a service that does not run, from one database to another."""

import asyncio
import os

import click

from service.command import load_dotenv_file
from service.store.errors import CannotOpen
from service.store.transfer import copy_everything

SCHEMES = ("sqlite:///", "postgresql://")


@click.command(help="Copy everything to an empty database, from a service that does not run.")
@click.option("--from", "source", required=True, help="Where everything is, as in DATABASE_URL.")
@click.option("--to", "target", required=True, help="Where it goes; must be empty.")
def command(source: str, target: str) -> None:
    load_dotenv_file()
    source, target = (_address(url) for url in (source, target))
    if source == target:
        raise click.BadParameter("--from and --to are the same database")
    media = os.environ.get("MEDIA_DIR") or "media"
    try:
        copied = asyncio.run(copy_everything(source, target, media, _progress))
    except CannotOpen as error:
        raise click.ClickException(str(error)) from None
    for name, rows in sorted(copied.items()):
        click.echo(f"  {name:<20}{rows:>10}")
    click.echo("Copied, and both sides count the same.")


def _address(url: str) -> str:
    if url.startswith("postgres://"):
        url = "postgresql://" + url.partition("://")[2]
    if not url.startswith(SCHEMES):
        raise click.BadParameter("an address is sqlite:///path or postgres://user:password@host/database")
    return url


def _progress(total: int) -> "click._termui_impl.ProgressBar[int]":
    return click.progressbar(length=total, label=f"{total} rows")
