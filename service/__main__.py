"""The command line: `python -m service` serves; its subcommands are for everything around it."""

import importlib
import logging
import sqlite3

import click
import uvloop

from service import __version__
from service.command import log_to_stderr, settings_or_exit
from service.environment import SettingsError
from service.main import serve
from service.store.sqlite.database import DatabaseInUse
from service.store.sqlite.migrate import SchemaFromTheFuture

# Where the click command of each verb is; imported only when it is called.
VERBS = {
    "listen": "service.client.commands:listen",
    "trigger": "service.client.commands:trigger",
    "demo": "service.tools.commands:demo",
    "drill": "service.tools.commands:drill",
    "sandbox": "service.tools.commands:sandbox",
}


class Verbs(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=Verbs, invoke_without_command=True, help="Callbridge. Without a command: serve, with the settings of .env."
)
@click.version_option(__version__)
@click.pass_context
def main(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        run_server()


def run_server() -> None:
    settings = settings_or_exit()
    log_to_stderr()
    log = logging.getLogger("callbridge")
    if settings.made_key:
        click.echo(f"No API_KEYS are set; the key for this run is: {settings.made_key}", err=True)
    if not (settings.piapi_api_key or settings.modelslab_api_key):
        log.warning("neither PIAPI_API_KEY nor MODELSLAB_API_KEY is set: every task will be refused")
    log.info(
        "Callbridge %s listens on http://%s:%d as %s", __version__, settings.host, settings.port, settings.public_url
    )
    try:
        uvloop.run(serve(settings))
    except SettingsError as error:
        raise click.ClickException(f"wrong settings\n{error}") from None
    except (DatabaseInUse, SchemaFromTheFuture) as error:
        raise click.ClickException(str(error)) from None
    except sqlite3.Error as error:
        raise click.ClickException(f"wrong setting DATABASE_URL: {error}") from None


if __name__ == "__main__":
    main(prog_name="python -m service")
