"""A store of each engine for the contract suite; tests say what they expect in words of service/ports alone."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.ports.store import Store
from service.store.sqlite.store import open_store
from tests.store.parts import LEASE, NOW, AfterACrash


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    one = await open_store(str(tmp_path / "test.db"))
    yield one
    await one.close()


@pytest.fixture
async def worker(store: Store) -> int:
    return (await store.workers.join(NOW + LEASE)).worker


@pytest.fixture
async def second_worker(store: Store, worker: int) -> int:
    return (await store.workers.join(NOW + LEASE)).worker


@pytest.fixture
async def after_a_crash(store: Store, tmp_path: Path) -> AsyncIterator[AfterACrash]:
    """Opens what a kill would leave at this moment: on SQLite a copy of the file and its log."""
    opened: list[Store] = []

    async def reopen() -> Store:
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"test.db{suffix}", tmp_path / f"crashed.db{suffix}")
        opened.append(await open_store(str(tmp_path / "crashed.db")))
        return opened[-1]

    yield reopen
    for one in opened:
        await one.close()
