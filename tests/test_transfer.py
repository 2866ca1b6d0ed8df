"""`copy`: everything from one database to another, both ways."""

from pathlib import Path

import pytest

from service.core.delivery import Attempt
from service.core.errors import IdempotencyMismatch
from service.ports.queries import DeliveryQuery, EventQuery, Idempotency, TaskQuery
from service.ports.store import Store
from service.store.errors import CannotOpen
from service.store.open import open_store
from service.store.transfer import copy_everything
from service.transfer import _progress
from tests.servers import fresh_database
from tests.store.parts import LEASE, NOW, a_subscription, a_task, added, deliveries, failed_attempt, finished

KEY = Idempotency("k", b"body")


async def fill(store: Store) -> None:
    """Some of everything, with what PostgreSQL does not keep in text among it."""
    subscription, made = await deliveries(store, 3)
    await store.queue.record(made[0].after(Attempt(NOW, 204, None, 12), None))
    await store.queue.record(failed_attempt(made[1], NOW + 900))
    await store.subscriptions.add(
        a_subscription(owner="bob", enabled=False, headers={"X-Key": "v"}, filter={"model": "x"})
    )
    await store.tasks.add(a_task(metadata={"order": "A-17", "n": 1, "nul": "a\0b"}), KEY)
    await finished(store, callback_url="https://example.com/own")
    worker, _ = await store.workers.join(NOW, NOW + LEASE)
    await added(store, provider="modelslab")
    await store.submits.claim(worker, "modelslab", 1, NOW)
    await store.deliveries.ping(worker, subscription, NOW)
    await store.secret_key(lambda: "the-secret")


async def content(store: Store) -> tuple[object, ...]:
    found = await store.deliveries.find(DeliveryQuery(None))
    return (
        await store.tasks.find(TaskQuery(None)),
        await store.tasks.find(TaskQuery("alice", metadata={"order": "A-17"})),
        await store.events.after(EventQuery(None)),
        [(d.id, d.status, d.attempts, d.next_attempt_at, d.lane) for d in found],
        await store.subscriptions.find(None),
        await store.secret_key(lambda: "another"),
        await store.events.last_seq(),
    )


def urls(tmp_path: Path) -> dict[str, str]:
    return {
        "sqlite": f"sqlite:///{tmp_path / 'one.db'}",
        "other sqlite": f"sqlite:///{tmp_path / 'two.db'}",
        "postgres": fresh_database(),
        "other postgres": fresh_database(),
    }


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("sqlite", "postgres"),
        ("postgres", "sqlite"),
        ("sqlite", "other sqlite"),
        ("postgres", "other postgres"),
    ],
)
async def test_everything_is_there_afterwards_and_numbers_go_on(source: str, target: str, tmp_path: Path) -> None:
    url = urls(tmp_path)
    store = await open_store(url[source])
    await fill(store)
    before = await content(store)
    last = await store.events.last_seq()
    await store.close()

    copied = await copy_everything(url[source], url[target], str(tmp_path / "media"), _progress)

    assert copied["tasks"] == 6
    there = await open_store(url[target])
    assert await content(there) == before
    ended = await there.workers.end_expired(NOW + LEASE)
    worker, _ = await there.workers.join(NOW, NOW + LEASE)
    assert worker not in ended
    assert [task.provider for one in ended for task in await there.submits.held_by(one)] == ["modelslab"]
    _, replayed = await there.tasks.add(a_task(), KEY)
    assert replayed
    with pytest.raises(IdempotencyMismatch):
        await there.tasks.add(a_task(), Idempotency("k", b"other"))
    await added(there)
    assert await there.events.last_seq() == last + 1
    lane = (await there.queue.lanes("", 10))[0]
    assert await there.queue.claim(worker, lane, NOW + 900, 10)
    await there.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_target_with_something_in_it_is_refused_and_left_alone(kind: str, tmp_path: Path) -> None:
    url = urls(tmp_path)
    for name in (kind, f"other {kind}"):
        store = await open_store(url[name])
        await added(store)
        await store.close()
    with pytest.raises(CannotOpen, match="not empty"):
        await copy_everything(url[kind], url[f"other {kind}"], str(tmp_path), _progress)
    store = await open_store(url[f"other {kind}"])
    assert len(await store.tasks.find(TaskQuery(None))) == 1
    await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_running_service_is_not_copied(kind: str, tmp_path: Path) -> None:
    url = urls(tmp_path)
    store = await open_store(url[kind])
    with pytest.raises(CannotOpen, match="stop"):
        await copy_everything(url[kind], url[f"other {kind}"], str(tmp_path), _progress)
    await store.close()


async def test_inline_files_go_along_both_ways(tmp_path: Path) -> None:
    url = urls(tmp_path)
    store = await open_store(url["postgres"])
    assert store.inline_files is not None
    data = bytes(range(256)) * 3000
    name = await store.inline_files.save(data, "png")
    await store.close()
    await copy_everything(url["postgres"], url["sqlite"], str(tmp_path / "media"), _progress)
    assert (tmp_path / "media" / name).read_bytes() == data
    await copy_everything(url["sqlite"], url["other postgres"], str(tmp_path / "media"), _progress)
    there = await open_store(url["other postgres"])
    assert there.inline_files is not None
    found = await there.inline_files.find(name)
    assert found is not None
    assert not isinstance(found, Path)
    assert b"".join([piece async for piece in found.read()]) == data
    await there.close()
