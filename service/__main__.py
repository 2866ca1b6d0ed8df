"""The command line: `python -m service` serves; the rest are its subcommands."""

import gc
import importlib
import logging
import os
import socket
import sys

import click
import uvloop

from service import __version__
from service.command import load_dotenv_file, log_to_stderr, wrong_settings
from service.environment import SettingsError
from service.migrate import migrate
from service.preflight import unusable, warnings
from service.server import bind
from service.settings import Settings, read_settings
from service.store.errors import CannotOpen
from service.supervisor import Supervisor

# Where the click command of each verb is; imported only when it is called.
VERBS = {
    "archive": "service.archive:command",
    "backup": "service.ops.backup:command",
    "doctor": "service.ops.doctor.command:command",
    "copy": "service.transfer:command",
    "listen": "service.client.commands:listen",
    "trigger": "service.client.commands:trigger",
    "demo": "service.tools.commands:demo",
    "drill": "service.tools.commands:drill",
    "migrate": "service.migrate:command",
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
    cls=Verbs,
    invoke_without_command=True,
    help="Callbridge. Without a command: serve, with the settings of .env.",
)
@click.version_option(__version__)
@click.pass_context
def main(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        run_server()


def run_server() -> None:
    load_dotenv_file()
    settings, wrong = read_settings(os.environ)
    log_to_stderr(settings)
    log = logging.getLogger("callbridge")
    wrong += unusable(settings, wrong)
    for sentence in warnings(settings):
        log.warning("%s", sentence)
    if wrong:
        raise wrong_settings(wrong)
    if settings.made_key:
        _show_made_key(settings.made_key)
    # No other command needs it. All of it stays: to look for garbage in it meanwhile takes a tenth of the start.
    gc.disable()
    from service.main import serve

    gc.enable()
    try:
        if settings.web_concurrency > 1 and settings.sqlite_path is None:
            sys.exit(_serve_with_many(settings))
        uvloop.run(serve(settings, show_link=_show_link))
    except (SettingsError, CannotOpen) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None


def _serve_with_many(settings: Settings) -> int:
    """An unusable database ends the start here, once; later each process waits for it by itself."""
    from service.main import serve

    uvloop.run(migrate(settings))

    def work(sockets: list[socket.socket], first: bool) -> int:
        try:
            uvloop.run(serve(settings, show_link=_show_link if first else _show_nothing, sockets=sockets))
        except CannotOpen as error:
            logging.getLogger("callbridge").error("%s", error)
            return 1
        return 0

    return Supervisor(settings.web_concurrency, bind(settings.host, settings.port), work).run()


def _show_nothing(link: str) -> None:
    """One process shows the link; any of them takes it."""


def _show_made_key(key: str) -> None:
    """Only on a terminal: logs are stored, and others read them."""
    if sys.stderr.isatty():
        click.echo(f"API_KEYS is not set; the key for this run is: {key}", err=True)
    else:
        logging.getLogger("callbridge").warning(
            "API_KEYS is not set, so nobody can sign in: set API_KEYS=name:key and restart"
        )


def _show_link(link: str) -> None:
    """Only on a terminal, like the key."""
    if sys.stderr.isatty():
        click.echo(f"This link signs you in (once, within ten minutes): {link}", err=True)


if __name__ == "__main__":
    main(prog_name="python -m service")
