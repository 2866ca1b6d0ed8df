"""`doctor` beside a running service: every check well, and each trouble named with what to do."""

import asyncio
import os
import pty
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from service.ops.doctor import machine
from service.store.examination import Examination
from service.tools.harness.ports import free_port
from service.tools.harness.serving import serving
from tests.conftest import CERTIFICATES, running
from tests.servers import fresh_database
from tests.test_stop import ROOT


async def doctor(env: dict[str, str], *options: str) -> tuple[int | None, str]:
    one = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "doctor", *options),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await one.communicate()
    return one.returncode, out.decode()


async def checks(env: dict[str, str]) -> dict[str, tuple[str, str]]:
    code, text = await doctor(env, "--json")
    listed = orjson.loads(text)["checks"]
    assert all(set(check) == {"name", "status", "detail"} for check in listed)
    assert (code == 1) == any(check["status"] == "fail" for check in listed)
    assert [secret for secret in ("alice-key", "piapi-test-key", env["SECRET_KEY"]) if secret in text] == []
    return {check["name"]: (check["status"], check["detail"]) for check in listed}


def rows(path: Path) -> dict[str, Any]:
    db = sqlite3.connect(path)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone() for name in tables if name != "meta"}
    # The service itself keeps rows there.
    found["meta"] = db.execute("SELECT count(*) FROM meta WHERE name LIKE '%doctor%'").fetchone()
    db.close()
    return found


async def test_beside_a_running_service_all_is_well_and_nothing_is_left(env: dict[str, str], tmp_path: Path) -> None:
    async with running(env):
        before = rows(tmp_path / "test.db"), sorted(os.listdir(tmp_path))
        found = await checks(env | {"RESULTS_URL": f"file://{tmp_path}/results"})
        assert (rows(tmp_path / "test.db"), sorted(os.listdir(tmp_path))) == before
    wanted = {"database", "rows", "disk", "public_url", "raw_body", "streams", "piapi", "results"}
    assert {name for name, (status, _) in found.items() if status == "ok"} >= wanted
    assert "ms" in found["database"][1]


async def test_on_postgresql_all_is_well_too(env: dict[str, str]) -> None:
    env |= {"DATABASE_URL": fresh_database()}
    assert (await checks(env))["database"][0] == "ok"
    async with running(env):
        found = await checks(env)
    wanted = {"database", "rows", "public_url", "raw_body", "streams"}
    assert {name for name, (status, _) in found.items() if status == "ok"} >= wanted


async def test_an_unreachable_postgresql_is_reported_without_its_password(env: dict[str, str]) -> None:
    code, text = await doctor(env | {"DATABASE_URL": f"postgres://u:hidden-word@127.0.0.1:{free_port()}/x"}, "--json")
    assert (code, "DATABASE_URL" in text, "hidden-word" in text) == (1, True, False)


async def test_for_people_it_is_a_list(env: dict[str, str]) -> None:
    code, text = await doctor(env)
    assert code == 1
    assert "FAIL  public_url" in text
    assert "\x1b" not in text


async def test_wrong_settings_are_all_named(env: dict[str, str]) -> None:
    code, text = await doctor(env | {"PORT": "x", "RETRY_SCHEDULE": "soon"})
    assert (code, "PORT" in text, "RETRY_SCHEDULE" in text) == (1, True, True)


async def test_another_service_with_the_same_keys_is_recognised(env: dict[str, str], tmp_path: Path) -> None:
    own = env | {"DATABASE_URL": f"sqlite:///{tmp_path}/own.db", "PORT": str(free_port())}
    async with running(own), running(env):
        found = await checks(own | {"PUBLIC_URL": f"http://127.0.0.1:{env['PORT']}"})
    status, detail = found["public_url"]
    assert (status, "another database" in detail) == ("fail", True)
    assert "streams" not in found, "of another service its streams say nothing"


@asynccontextmanager
async def behind(upstream: str, change: Callable[[bytes], bytes], hold_up: bool) -> AsyncIterator[str]:
    """A proxy in front of the service that touches bodies or collects streams."""
    async with httpx.AsyncClient(base_url=upstream, verify=CERTIFICATES) as client:

        async def forward(request: Request) -> Response:
            body = change(await request.body())
            response = await client.request(request.method, request.url.path, content=body)
            if hold_up or request.method == "POST":
                return Response(response.content, response.status_code, media_type=response.headers["content-type"])

            async def pieces() -> AsyncIterator[bytes]:
                async with client.stream("GET", request.url.path) as stream:
                    async for piece in stream.aiter_raw():
                        yield piece

            return StreamingResponse(pieces(), media_type="text/event-stream")

        async with serving(Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])])) as url:
            yield url


async def test_a_proxy_that_changes_bodies_or_holds_up_streams_is_found(env: dict[str, str]) -> None:
    async with running(env) as service:
        async with behind(service.url, lambda body: body.replace(b"\r\n", b"\n"), hold_up=False) as url:
            found = await checks(env | {"PUBLIC_URL": url})
            assert [found[name][0] for name in ("public_url", "raw_body", "streams")] == ["ok", "fail", "ok"]
        async with behind(service.url, bytes, hold_up=True) as url:
            found = await checks(env | {"PUBLIC_URL": url})
            assert [found[name][0] for name in ("public_url", "raw_body", "streams")] == ["ok", "ok", "fail"]


async def test_what_is_missing_is_reported_with_what_to_do(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    found = await checks(
        env
        | {
            "PIAPI_BASE_URL": f"http://127.0.0.1:{free_port()}",
            "MODELSLAB_API_KEY": "",
            "RESULTS_URL": f"file://{tmp_path}/a-file/no-folder",
            "MEDIA_DIR": f"{tmp_path}/a-file/no-folder",
        }
    )
    assert {name: found[name][0] for name in ("database", "media", "public_url", "piapi", "modelslab", "results")} == {
        "database": "warn",
        "media": "fail",
        "public_url": "fail",
        "piapi": "fail",
        "modelslab": "ok",
        "results": "fail",
    }
    assert not (tmp_path / "test.db").exists()


@asynccontextmanager
async def accounts(status: int, seconds_behind: float, text: str = "{}") -> AsyncIterator[str]:
    """Both providers: they answer about the account, with this time in the header."""

    async def answer(request: Request) -> Response:
        headers = {"date": format_datetime(datetime.now(UTC) - timedelta(seconds=seconds_behind), usegmt=True)}
        return Response(text, status, headers, media_type="application/json")

    async with serving(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])) as url:
        yield url


@pytest.mark.parametrize(
    ("status", "seconds_behind", "expected"), [(200, 0, "ok"), (500, 60, "warn"), (401, 600, "fail")]
)
async def test_the_providers_tell_about_the_keys_and_the_time(
    env: dict[str, str], status: int, seconds_behind: float, expected: str
) -> None:
    async with accounts(status, seconds_behind) as url:
        found = await checks(env | {"PIAPI_BASE_URL": url, "MODELSLAB_BASE_URL": url})
    assert {name: found[name][0] for name in ("piapi", "modelslab", "clock")} == dict.fromkeys(
        ("piapi", "modelslab", "clock"), expected
    )


async def test_a_key_that_is_refused_with_status_200_is_found(env: dict[str, str]) -> None:
    async with accounts(200, 0, '{"status": "error", "message": "Invalid API Key"}') as url:
        found = await checks(env | {"MODELSLAB_BASE_URL": url})
    assert (found["modelslab"][0], "MODELSLAB_API_KEY" in found["modelslab"][1]) == ("fail", True)


async def test_a_file_that_is_no_database_or_of_a_newer_version_is_named(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "test.db").write_text("not a database, but long enough to be looked at" * 20)
    status, detail = (await checks(env))["database"]
    assert (status, "test.db" in detail) == ("fail", True)
    (tmp_path / "test.db").unlink()
    async with running(env):
        pass
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as db:
        db.execute("UPDATE schema_version SET version = 99")
    status, detail = (await checks(env))["database"]
    assert (status, "99" in detail) == ("fail", True)


async def test_a_setting_without_effect_is_a_warning_and_no_failure(env: dict[str, str]) -> None:
    async with running(env), accounts(200, 0) as url:
        code, text = await doctor(
            env | {"WEB_CONCURRENCY": "2", "PIAPI_BASE_URL": url, "MODELSLAB_BASE_URL": url}, "--json"
        )
    found = {check["name"]: check["status"] for check in orjson.loads(text)["checks"]}
    assert (code, found.pop("settings"), set(found.values())) == (0, "warn", {"ok"})


async def test_on_a_terminal_the_marks_are_colored(env: dict[str, str]) -> None:
    terminal, its_end = pty.openpty()
    one = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "doctor"), cwd=ROOT, env={"PATH": os.environ["PATH"], **env}, stdout=its_end
    )
    os.close(its_end)
    text = await asyncio.to_thread(read_to_the_end, terminal)
    assert await one.wait() == 1
    for colored in (
        "\x1b[32mok  \x1b[0m  settings",
        "\x1b[33mwarn\x1b[0m  database",
        "\x1b[31mFAIL\x1b[0m  public_url",
    ):
        assert colored in text


def read_to_the_end(terminal: int) -> str:
    pieces = []
    # The end of a terminal is an error.
    with suppress(OSError):
        while piece := os.read(terminal, 4096):
            pieces.append(piece)
    os.close(terminal)
    return b"".join(pieces).decode()


@pytest.mark.parametrize(("free", "status"), [(2 << 30, "ok"), (500 << 20, "warn"), (50 << 20, "fail")])
def test_a_full_disk_is_reported(free: int, status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    assert machine.disk("disk", tmp_path / "folder" / "not-there-yet.db").status == status


@pytest.mark.parametrize(("seconds", "status"), [(0.001, "ok"), (machine.SLOW, "warn"), (machine.TOO_SLOW, "fail")])
def test_a_slow_disk_is_reported(seconds: float, status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    path.touch()
    monkeypatch.setattr(machine, "examine", lambda _: Examination("secret", seconds, ["task tsk_1"], []))
    (database, damage), _ = machine.sqlite(str(path))
    assert (database.status, damage.status) == (status, "warn")
    assert "tsk_1" in damage.detail
