"""`python -m service migrate`: bring the schema up to date and exit, for a release phase."""

import asyncio

import click

from service.command import log_to_stderr, settings_or_exit
from service.settings import Settings
from service.store.errors import CannotOpen
from service.store.open import open_store


async def migrate(settings: Settings) -> None:
    """Raises CannotOpen."""
    store = await open_store(settings.database_url, settings.database_direct_url)
    await store.close()


@click.command(help="Bring the schema of the database up to date and exit.")
def command() -> None:
    settings = settings_or_exit()
    log_to_stderr(settings)
    try:
        asyncio.run(migrate(settings))
    except CannotOpen as error:
        raise click.ClickException(str(error)) from None
    click.echo("The schema is up to date.")
