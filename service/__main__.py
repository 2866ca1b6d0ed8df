"""The command line: `python -m service` serves; its subcommands are for everything around it."""

import logging
import os
import sqlite3
import sys

import click
import uvloop
from dotenv import load_dotenv

from service import __version__
from service.main import serve
from service.settings import Settings, SettingsError, load_settings
from service.store.sqlite.database import DatabaseInUse
from service.store.sqlite.migrate import SchemaFromTheFuture


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # It logs whole addresses, and ours hold tokens.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _settings() -> Settings:
    load_dotenv()
    try:
        return load_settings(os.environ)
    except SettingsError as error:
        raise click.ClickException(f"wrong setting {error}") from None


@click.group(invoke_without_command=True, help="Callbridge. Without a command: serve, with the settings of .env.")
@click.version_option(__version__)
@click.pass_context
def main(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        run_server()


def run_server() -> None:
    settings = _settings()
    _log_to_stderr()
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
    except (DatabaseInUse, SchemaFromTheFuture) as error:
        raise click.ClickException(str(error)) from None
    except sqlite3.Error as error:
        raise click.ClickException(f"wrong setting DATABASE_URL: {error}") from None


@main.command(help="Be the pretend PiAPI and ModelsLab, for trying without a key.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=9000, show_default=True)
def sandbox(host: str, port: int) -> None:
    from service.tools.sandbox.app import run

    _log_to_stderr()
    run(host, port)


@main.command(help="Show the main job, step by step, with pretend providers.")
@click.option("--keep", is_flag=True, help="Leave it running to look at, until Ctrl-C.")
@click.pass_context
def demo(context: click.Context, keep: bool) -> None:
    from service.tools.demo.run import main as run

    context.exit(run(keep))


@main.command(help="Kill the service at every commit point: is anything lost?")
@click.option("--random", "random_kills", default=20, show_default=True, help="Kills at random moments.")
@click.option("--seed", type=int, help="The same orders and moods again; else a new one, which is printed.")
@click.option("--points", default="all", show_default=True, help="Comma-separated commit points, `all` or `none`.")
def drill(random_kills: int, seed: int | None, points: str) -> None:
    from service.tools.drill.command import run_drill

    if not run_drill(random_kills, seed, points):
        sys.exit(1)


def _later(name: str, what: str) -> None:
    @main.command(name, help=f"Not in this version yet: {what}.", context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1)
    def command(rest: tuple[str, ...]) -> None:
        raise click.ClickException(f"`{name}` is not part of this version yet.")


for _name, _what in (
    ("doctor", "check a deployment"),
    ("backup", "copy the database in use"),
    ("copy", "move to another database"),
):
    _later(_name, _what)


if __name__ == "__main__":
    main(prog_name="python -m service")
