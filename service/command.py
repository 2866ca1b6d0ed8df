"""What every command does first: read the settings, or say what is wrong with them, and set up the log."""

import logging
import os
import sys
from collections.abc import Iterable

import click
from dotenv import load_dotenv

from service.environment import WrongSetting
from service.settings import Settings, read_settings


def load_dotenv_file() -> None:
    """`.env` of the working folder; what the environment already holds wins."""
    try:
        load_dotenv(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f".env cannot be read: {error}") from None


def settings_or_exit() -> Settings:
    load_dotenv_file()
    settings, wrong = read_settings(os.environ)
    if wrong:
        raise wrong_settings(wrong)
    return settings


def wrong_settings(wrong: Iterable[WrongSetting]) -> click.ClickException:
    return click.ClickException("these settings are wrong:\n" + "\n".join(f"  {one}" for one in wrong))


def log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # It logs whole addresses, and ours hold tokens.
    logging.getLogger("httpx").setLevel(logging.WARNING)
