"""`backup`: whole or absent, made while the service runs, and the service goes on from it."""

import asyncio
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
from httpx_sse import aconnect_sse

from service.ops.backup import BackupProgress
from service.store.sqlite.backup import back_up
from service.tools.harness.ports import free_port
from tests.conftest import Service, Subscriber, running, txt2img
from tests.test_stop import ROOT


async def backup(env: dict[str, str], path: Path) -> tuple[int | None, str]:
    one = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "backup", str(path)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await one.communicate()
    return one.returncode, out.decode()


async def test_a_backup_under_load_is_whole_and_the_service_goes_on_from_it(
    env: dict[str, str], tmp_path: Path, subscriber: Subscriber
) -> None:
    copy = tmp_path / "copies" / "one.db"
    copy.parent.mkdir()
    async with running(env) as service:
        await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
        before = await service.finished(txt2img())
        waiting = await service.submit(txt2img("hold=gate"))
        await service.event(waiting["id"], "task.processing")
        load = asyncio.create_task(keep_busy(service))
        code, text = await backup(env, copy)
        load.cancel()
        assert code == 0, text
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert list(copy.parent.iterdir()) == [copy]
    db = sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    restored = env | {"DATABASE_URL": f"sqlite:///{copy}", "PORT": str(free_port()), "SWEEP_AFTER": "0.1"}
    async with running(restored) as service:
        assert (await service.client.get(f"/v1/tasks/{before['id']}")).json()["status"] == "completed"
        await service.client.post(f"{env['PIAPI_BASE_URL']}/sandbox/release/gate")
        assert (await service.event(waiting["id"], "task.completed"))["data"]["output"]["url"]
        # What was told after the backup was never told by this database.
        response = await service.client.get("/v1/events?after=1000000")
        assert (response.status_code, response.json()["code"]) == (409, "unknown_cursor")
        headers = {"Last-Event-ID": "1000000"}
        async with aconnect_sse(service.client, "GET", "/v1/events", headers=headers) as source:
            assert (await anext(source.aiter_sse())).event == "reset"


async def keep_busy(service: Service) -> None:
    while True:
        await service.finished(txt2img("instant=1"))


def database(path: Path, size: int = 3_000_000) -> str:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"CREATE TABLE t AS SELECT randomblob({size}) AS x")
    db.commit()
    db.close()
    return str(path)


async def test_an_existing_file_is_refused_and_kept(env: dict[str, str], tmp_path: Path) -> None:
    database(tmp_path / "test.db")
    there = tmp_path / "there.db"
    there.write_text("mine")
    code, text = await backup(env, there)
    assert (code, there.read_text()) == (1, "mine")
    assert "exists" in text


async def test_a_folder_that_is_missing_or_not_ours_is_named(env: dict[str, str], tmp_path: Path) -> None:
    database(tmp_path / "test.db")
    (tmp_path / "a-file").touch()
    for path in (tmp_path / "no-folder" / "copy.db", tmp_path / "a-file" / "copy.db", Path("/proc/copy.db")):
        code, text = await backup(env, path)
        assert (code, str(path.parent) in text, "Traceback" in text) == (1, True, False)


def test_progress_is_shown_for_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.ops.backup.EVERY", 0.0)
    back_up(database(tmp_path / "source.db", 20_000_000), tmp_path / "copy.db", BackupProgress())
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("%")[0].strip() for line in lines] == ["42", "84", "100"]
    assert lines[0].endswith("of 20 MB")


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    source = database(tmp_path / "source.db")

    def fail(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        back_up(source, tmp_path / "copy.db", fail)
    assert not [path for path in tmp_path.iterdir() if "copy" in path.name]


async def test_a_damaged_database_is_not_backed_up(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    database(path)
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    path.write_bytes(content)
    code, text = await backup(env, tmp_path / "copy.db")
    assert (code, "Traceback" in text) == (1, False)
    assert not (tmp_path / "copy.db").exists()


async def test_on_postgresql_it_names_pg_dump(env: dict[str, str], tmp_path: Path) -> None:
    code, text = await backup(env | {"DATABASE_URL": "postgres://u:secret@127.0.0.1/x"}, tmp_path / "copy.db")
    assert (code, "pg_dump" in text, "secret" in text) == (1, True, False)
