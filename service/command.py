"""What every command does first: read the settings, or exit with what is wrong, and set up logging."""

import os
from collections.abc import Iterable

import click
from dotenv import load_dotenv

from service.environment import WrongSetting
from service.ops import logs
from service.settings import Settings, read_settings

# The credentials of RESULTS_URL, which only the library of the buckets reads.
STORAGE_SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)


def load_dotenv_file() -> None:
    """`.env` of the working folder; the environment takes precedence."""
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


def log_to_stderr(settings: Settings | None = None) -> None:
    """As LOG_FORMAT and LOG_LEVEL say, with all secrets of the settings redacted."""
    if settings is None:
        logs.set_up("auto", "info")
    else:
        of_storage = filter(None, map(os.environ.get, STORAGE_SECRETS))
        logs.set_up(settings.log_format, settings.log_level, [*settings.secrets, *of_storage])
