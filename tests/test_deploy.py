"""The files that platforms read agree with each other, with the settings and with the README."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]

from service.__main__ import VERBS
from service.main import STOP_SECONDS
from service.settings import load_settings
from tests.test_settings import names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FLY: dict[str, Any] = tomllib.loads((ROOT / "fly.toml").read_text())
UNIT = dict(line.split("=", 1) for line in (ROOT / "callbridge.service").read_text().splitlines() if "=" in line)
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())


def image_env() -> dict[str, str]:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    return dict(re.findall(r"([A-Z_]+)=(\S+)", last[last.index("ENV ") :].split("\nWORKDIR")[0]))


def test_heroku_runs_commands_that_there_are() -> None:
    assert PROCFILE == {"web": "HOST=0.0.0.0 python -m service", "release": "python -m service migrate"}
    assert "migrate" in VERBS


def test_the_heroku_button_asks_for_settings_that_there_are() -> None:
    app = json.loads((ROOT / "app.json").read_text())
    assert set(app["env"]) <= names()
    assert app["env"]["SECRET_KEY"]["generator"] == "secret"
    assert any(addon.startswith("heroku-postgresql") for addon in app["addons"])
    assert "heroku-postgresql" in README


def test_heroku_finds_one_list_of_packages_and_a_python() -> None:
    """More than one lock file, or none, and the buildpack refuses; so it does an unsupported Python."""
    found = [name for name in ("requirements.txt", "poetry.lock", "uv.lock", "Pipfile.lock") if (ROOT / name).exists()]
    assert found == ["requirements.txt"]
    assert re.fullmatch(r"3\.1[1-4]", (ROOT / ".python-version").read_text().strip())


def test_fly_keeps_what_is_written_and_never_sleeps() -> None:
    assert set(FLY["env"]) <= names()
    (mount,) = FLY["mounts"]
    for setting in ("DATABASE_URL", "MEDIA_DIR"):
        assert f"{mount['destination']}/" in FLY["env"][setting]
    service = FLY["http_service"]
    assert str(service["internal_port"]) == FLY["env"]["PORT"]
    assert (service["auto_stop_machines"], service["min_machines_running"]) == ("off", 1)
    assert [check["path"] for check in service["checks"]] == ["/readyz"]
    # It would run on a machine without the volume.
    assert "deploy" not in FLY
    assert f"fly volumes create {mount['source']}" in README


def test_every_platform_waits_for_the_end() -> None:
    assert int(FLY["kill_timeout"].removesuffix("s")) > STOP_SECONDS
    assert int(re.search(r"--stop-timeout (\d+)", README)[1]) > STOP_SECONDS  # type: ignore[index]
    assert int(UNIT["TimeoutStopSec"]) > STOP_SECONDS
    [grace] = re.findall(r"stop_grace_period: (\d+)s", (ROOT / "compose.yaml").read_text())
    assert int(grace) > STOP_SECONDS


def test_the_unit_starts_what_the_readme_installs() -> None:
    assert f"{Path(UNIT['ExecStart']).parent}/pip install -c requirements.txt ." in README
    assert f"--home-dir {UNIT['WorkingDirectory']} {UNIT['User']}" in README
    assert UNIT["ReadWritePaths"] == UNIT["WorkingDirectory"]


def test_compose_starts_two_processes_on_its_own_postgres() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    service, database = compose["services"]["callbridge"], compose["services"]["postgres"]
    env = image_env() | {name: str(value) for name, value in service["environment"].items()}
    key = {"API_KEYS": "ops:an-admin-key-of-ours:admin", "SECRET_KEY": "s" * 32}  # of .env
    settings = load_settings(env | key)
    assert (settings.web_concurrency, settings.sqlite_path) == (2, None)
    address = urlsplit(settings.database_url)
    login = database["environment"]
    assert (address.username, address.password) == (login["POSTGRES_USER"], login["POSTGRES_PASSWORD"])
    # Without POSTGRES_DB the image makes a database with the name of its user.
    assert (address.hostname, address.path) == ("postgres", f"/{login['POSTGRES_USER']}")
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert database["healthcheck"]["test"][1] == f"pg_isready -U {login['POSTGRES_USER']}"
    assert service["ports"] == [f"{settings.port}:{settings.port}"]
    assert [volume.split(":")[0] for volume in database["volumes"]] == list(compose["volumes"])


def test_the_image_and_fly_say_the_same() -> None:
    env = image_env()
    assert {name: env[name] for name in FLY["env"]} == FLY["env"]
    # What flyctl reads out of a Dockerfile.
    assert re.search(r"(?m)^EXPOSE 8080$", DOCKERFILE)
    assert re.search(rf"(?m)^VOLUME {FLY['mounts'][0]['destination']}$", DOCKERFILE)
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE


def test_the_image_is_made_of_files_that_are_sent_to_it() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"(?m)^COPY (?!--from)(?:--\S+ )*(.+) \S+$", DOCKERFILE)
    assert {name for line in copied for name in line.split()} == sent
    assert [name for name in sent if not (ROOT / name).exists()] == []


def test_the_entrypoint_goes_on_without_rights(tmp_path: Path) -> None:
    """`id`, `chown` and `setpriv` of the image are stood in for: this machine has no user of that name."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {"id": "echo 0", "chown": 'echo "chown $*"', "setpriv": 'echo "setpriv $*"'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    script = str(ROOT / "docker-entrypoint.sh")
    path = f"{tools}:{os.environ['PATH']}"
    done = subprocess.run([script, "callbridge"], env={"PATH": path}, capture_output=True, text=True, check=True)
    own, goes_on = done.stdout.splitlines()
    assert own == "chown callbridge:callbridge /data"
    assert re.fullmatch(r"setpriv --reuid=callbridge --regid=callbridge .*--no-new-privs callbridge", goes_on)
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    done = subprocess.run([script, "echo", "as it is"], env={"PATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout == "as it is\n"
