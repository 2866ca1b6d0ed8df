"""A store of each engine for the contract suite; tests say what they expect in words of service/ports alone."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.ports.store import Store
from service.store.open import open_store
from tests.servers import fresh_database
from tests.store.parts import LEASE, NOW, AfterACrash


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return fresh_database() if request.param == "postgres" else f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    one = await open_store(url)
    yield one
    await one.close()


@pytest.fixture
async def worker(store: Store) -> int:
    return (await store.workers.join(NOW, NOW + LEASE)).worker


@pytest.fixture
async def second_worker(store: Store, worker: int) -> int:
    return (await store.workers.join(NOW, NOW + LEASE)).worker


@pytest.fixture
async def after_a_crash(url: str, store: Store, tmp_path: Path) -> AsyncIterator[AfterACrash]:
    """Opens what a kill would leave at this moment: the database itself, or of a file a copy with its log."""
    opened: list[Store] = []

    async def reopen() -> Store:
        left = url
        if url.startswith("sqlite"):
            for suffix in ("", "-wal"):
                shutil.copy(tmp_path / f"test.db{suffix}", tmp_path / f"crashed.db{suffix}")
            left = f"sqlite:///{tmp_path / 'crashed.db'}"
        opened.append(await open_store(left))
        return opened[-1]

    yield reopen
    for one in opened:
        await one.close()
