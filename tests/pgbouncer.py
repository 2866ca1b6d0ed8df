"""A pgbouncer before a test's own PostgreSQL, where the machine has one (Debian: apt install pgbouncer)."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from service.tools.harness.ports import free_port
from service.tools.postgres import PATIENCE, PostgresServer, as_server_user

# From this version on it can keep prepared statements.
KEEPS_STATEMENTS = (1, 21)
# Fewer sessions than clients, so that transactions of one client meet sessions that another one used.
SETTINGS = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
logfile = {folder}/log
pool_mode = {mode}
default_pool_size = 4
"""


def find_pgbouncer() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@cache
def keeps_statements() -> bool:
    program = find_pgbouncer()
    assert program is not None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor, *_ = said.split()[1].split(".")
    return (int(major), int(minor)) >= KEEPS_STATEMENTS


@contextmanager
def pgbouncer(server: PostgresServer, mode: str = "transaction", *settings: str) -> Iterator[int]:
    """Its port; every database of the server is behind it."""
    program = find_pgbouncer()
    assert program is not None
    with tempfile.TemporaryDirectory(prefix="callbridge-pgbouncer-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o777)
        (folder / "users").write_text('"callbridge" ""\n')
        text = SETTINGS.format(server=server.port, port=port, folder=folder, mode=mode)
        (folder / "ini").write_text("\n".join((text, *settings, "")))
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen([program, folder / "ini"], stdout=output, stderr=output, **as_server_user())
        try:
            _wait_for(port, process, folder)
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"pgbouncer did not start: {(folder / 'output').read_text()}") from None
            time.sleep(0.02)
