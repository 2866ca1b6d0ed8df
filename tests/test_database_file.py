"""The SQLite file itself: who has it open, whether it is still there, and how long its log gets."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from service.core.points import Point
from service.store.sqlite import checkpoint, file_watch, writer
from service.store.sqlite.lock import DatabaseInUse
from service.store.sqlite.store import open_store
from tests.conftest import PATIENCE, Service, txt2img
from tests.store.parts import a_task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.02)


async def ready_again(service: Service) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await service.anybody.get("/readyz")).status_code != 200:  # one probe serves a second
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("by", ["path", "symlink", "hard link"])
async def test_a_file_is_opened_once_by_whichever_path(tmp_path: Path, by: str) -> None:
    path = other = tmp_path / "test.db"
    store = await open_store(str(path))
    try:
        if by == "symlink":
            other = tmp_path / "link.db"
            other.symlink_to(path)
        elif by == "hard link":
            other = tmp_path / "hard.db"
            os.link(path, other)
        with pytest.raises(DatabaseInUse):
            await open_store(str(other))
    finally:
        await store.close()
    await (await open_store(str(other))).close()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_nothing_is_taken_while_the_file_is_gone(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    path, aside = tmp_path / "test.db", tmp_path / "aside.db"
    path.rename(aside)
    if how == "replaced":
        sqlite3.connect(path).close()
        path.touch()
    await until(lambda: service.database.writer.refusing)

    refused = await service.client.post("/v1/tasks", json=txt2img())
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert "retry-after" in refused.headers
    assert (await service.anybody.get("/readyz")).status_code == 503
    assert (await service.anybody.get("/healthz")).status_code == 200

    aside.replace(path)
    await until(lambda: not service.database.writer.refusing)
    assert (await service.client.post("/v1/tasks", json=txt2img())).status_code == 202
    await ready_again(service)
    said = [one.levelno for one in caplog.records if "requests are refused" in one.message]
    assert said == [logging.ERROR]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(checkpoint, "AGAIN", 0.05)


@pytest.mark.parametrize("then", ["nothing is written", "a little is written"])
async def test_the_log_is_cut_back_when_a_long_reader_has_left(tmp_path: Path, then: str) -> None:
    path = tmp_path / "test.db"
    store = await open_store(str(path))

    def size() -> int:
        return os.path.getsize(f"{path}-wal")

    try:
        await store.tasks.add(a_task(), None)
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM tasks").fetchone()
        db = store.database.db
        for _ in range(4):
            await store.database.write(
                Point.PING, lambda: db.execute("INSERT OR REPLACE INTO meta VALUES ('big', ?)", ("x" * 4_000_000,))
            )
        for _ in range(checkpoint.ROWS):  # until a copy begins
            await store.tasks.add(a_task(), None)
        assert size() > checkpoint.LONGEST_BYTES
        reader.close()
        if then == "a little is written":
            await store.tasks.add(a_task(), None)
        await until(lambda: size() <= checkpoint.LONGEST_BYTES)
        await store.tasks.add(a_task(), None)
    finally:
        await store.close()


async def test_not_ready_while_another_program_holds_the_file_for_itself(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 0.5)
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert (await service.anybody.get("/readyz")).status_code == 503
    other.execute("ROLLBACK")
    other.close()
    await ready_again(service)
