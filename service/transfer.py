"""`python -m service copy`: copy everything of a stopped service to another database."""

import asyncio
import os

import click

from service.command import load_dotenv_file
from service.setting_values import read_database_url
from service.store.errors import CannotOpen
from service.store.transfer import copy_everything


@click.command(help="Copy everything of a stopped service to an empty database.")
@click.option("--from", "source", required=True, help="The database to copy, as in DATABASE_URL.")
@click.option("--to", "target", required=True, help="The database to copy to; must be empty.")
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
    click.echo("Copied; both databases have the same number of rows.")


def _address(url: str) -> str:
    try:
        return read_database_url(url)
    except ValueError as error:
        raise click.BadParameter(f"an address {error}") from None


def _progress(total: int) -> "click._termui_impl.ProgressBar[int]":
    return click.progressbar(length=total, label=f"{total} rows")
