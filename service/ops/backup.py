"""`callbridge backup PATH`: the database as one file, while the service runs."""

import signal
import sqlite3
import sys
import time
from pathlib import Path

import click

from service.command import settings_or_exit
from service.store.sqlite.backup import back_up

# Seconds between progress lines; a small database finishes before the first.
EVERY = 1.0
PAGE = 4096


@click.command("backup", help="Copy the SQLite database to PATH while the service runs.")
@click.argument("path", type=click.Path(path_type=Path))
def command(path: Path) -> None:
    settings = settings_or_exit()
    source = settings.sqlite_path
    if source is None:
        raise click.ClickException("DATABASE_URL is PostgreSQL: back it up with pg_dump, for example pg_dump -Fc")
    if not Path(source).is_file():
        raise click.ClickException(f"there is no database at {source}; see DATABASE_URL")
    # Cleans up after a signal too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        back_up(source, path, BackupProgress())
    except sqlite3.Error as error:
        raise click.ClickException(f"the backup failed: {error}") from None
    except OSError as error:
        reason = f"{path}: {error.strerror}" if error.strerror else str(error)
        raise click.ClickException(f"the backup failed: {reason}") from None
    click.echo(f"{path}: {path.stat().st_size:,} bytes")


class BackupProgress:
    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= EVERY:
            self._told = now
            click.echo(f"{done / max(total, 1):4.0%} of {total * PAGE / 1e6:,.0f} MB", err=True)
