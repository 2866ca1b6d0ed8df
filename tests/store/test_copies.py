"""Copies of result files: claimed work that ends with one task.stored."""

from typing import Any

from service.core.copies import FileCopy, StoredFile
from service.core.points import Point
from service.core.result import PENDING, Copy, File, Output
from service.core.task import Status as S
from service.core.task import Task
from service.ports.store import Store
from tests.store.parts import DAY, LEASE, NOW, AfterACrash, added, events, tidied, to

URLS = ("https://files.example.com/0.png", "https://files.example.com/1.mp4")
OUTPUT = Output(
    (
        File(URLS[0], "image", "image_urls.0", "2026-02-03T00:00:00.000Z", PENDING),
        File(URLS[1], "video", "video_url", None, PENDING),
    )
)
STORED = Copy("stored", "https://bridge.example.com/results/x/0.png", 7, "image/png", "ab" * 32)
FAILED = Copy("failed", error="The file is gone.")


async def copied(store: Store, output: Output = OUTPUT, now: int = NOW, **changes: Any) -> Task:
    """A task that is completed with files that are to be copied."""
    task = await added(store, **changes)
    moved = await store.tasks.change(Point.CALLBACK, task.id, to(S.COMPLETED, now, output=output))
    assert moved is not None
    return moved


def kept(copy: FileCopy, **changes: Any) -> StoredFile:
    fields: dict[str, Any] = {
        "name": f"2026/01/31/{copy.task_id}/{copy.position}.png",
        "media_type": "image/png",
        "bytes": 7,
        "sha256": "ab" * 32,
    }
    return StoredFile(**fields | changes)


async def finish(store: Store, copy: FileCopy, how: Copy = STORED, **changes: Any) -> bool:
    file = kept(copy, **changes) if how.status == "stored" else None
    return await store.copies.finish(copy, how, file, NOW + 1)


async def stored_events(store: Store) -> list[str | None]:
    return [event.task_id for event in await events(store) if event.type == "task.stored"]


async def test_a_completed_task_brings_one_copy_for_each_file(store: Store, worker: int) -> None:
    task = await copied(store)
    assert await store.copies.next_due() == NOW
    first, second = await store.copies.claim(worker, "alice", NOW, 9)
    assert (first.task_id, first.position, first.url, first.kind) == (task.id, 0, URLS[0], "image")
    assert (second.task_id, second.position, second.url, second.kind) == (task.id, 1, URLS[1], "video")
    assert (first.expires_at, second.expires_at) == (1_770_076_800_000, None)
    assert (first.attempts, first.worker) == (0, worker)
    assert await store.copies.next_due() is None


async def test_a_task_without_files_or_without_copies_brings_none(store: Store, worker: int) -> None:
    await copied(store, Output())
    await copied(store, Output((File(URLS[0], "image", "image_url"),)))
    assert await store.copies.claim(worker, "alice", NOW, 9) == []


async def test_no_two_workers_get_the_same_copy(store: Store, worker: int, second_worker: int) -> None:
    await copied(store)
    claims = [await store.copies.claim(one, "alice", NOW, 1) for one in (worker, second_worker, worker)]
    assert [len(claim) for claim in claims] == [1, 1, 0]
    assert claims[0][0].position != claims[1][0].position


async def test_task_stored_is_sent_once_with_the_last_file(store: Store, worker: int) -> None:
    task = await copied(store)
    first, second = await store.copies.claim(worker, "alice", NOW, 9)
    assert await finish(store, first)
    assert await stored_events(store) == []
    assert await finish(store, second, FAILED)
    assert await stored_events(store) == [task.id]
    after = await store.tasks.get(task.id)
    assert after is not None
    assert after.output is not None
    assert [file.copy for file in after.output.files] == [STORED, FAILED]
    assert (after.status, after.updated_at) == (S.COMPLETED, NOW + 1)


async def test_a_copy_ends_once(store: Store, worker: int) -> None:
    await copied(store, Output(OUTPUT.files[:1]))
    [copy] = await store.copies.claim(worker, "alice", NOW, 9)
    assert await finish(store, copy)
    assert not await finish(store, copy, FAILED)
    assert len(await stored_events(store)) == 1


async def test_a_copy_put_back_waits_and_keeps_its_attempt_count(store: Store, worker: int) -> None:
    await copied(store, Output(OUTPUT.files[:1]))
    [copy] = await store.copies.claim(worker, "alice", NOW, 9)
    again = FileCopy(**{name: getattr(copy, name) for name in copy.__struct_fields__} | {"attempts": 3})
    await store.copies.put_back(again, NOW + 5000)
    assert await store.copies.next_due() == NOW + 5000
    assert await store.copies.claim(worker, "alice", NOW + 4999, 9) == []
    assert [one.attempts for one in await store.copies.claim(worker, "alice", NOW + 5000, 9)] == [3]


async def test_claims_of_an_ended_worker_are_copied_by_another(store: Store, worker: int, second_worker: int) -> None:
    await copied(store, Output(OUTPUT.files[:1]))
    [copy] = await store.copies.claim(worker, "alice", NOW, 9)
    await store.workers.renew(second_worker, NOW + 2 * LEASE)
    assert await store.workers.end_expired(NOW + LEASE) == [worker]
    await store.workers.remove(worker)
    [taken] = await store.copies.claim(second_worker, "alice", NOW, 9)
    assert not await finish(store, copy)
    assert await finish(store, taken)


async def test_a_worker_without_a_lease_gets_nothing(store: Store, worker: int) -> None:
    await copied(store)
    await store.workers.end_expired(NOW + LEASE)
    assert await store.copies.claim(worker, "alice", NOW, 9) == []


async def test_a_stored_file_is_found_by_its_task_and_by_its_inline_name(store: Store, worker: int) -> None:
    task = await copied(store)
    first, second = await store.copies.claim(worker, "alice", NOW, 9)
    await finish(store, first, inline_name="ab.png")
    await finish(store, second, FAILED)
    assert await store.copies.stored(task.id, 0) == kept(first, inline_name="ab.png")
    assert await store.copies.stored_inline("ab.png") == kept(first, inline_name="ab.png")
    assert await store.copies.stored(task.id, 1) is None
    assert await store.copies.stored_inline("other.png") is None


async def test_the_counts_tell_what_waits(store: Store, worker: int) -> None:
    assert (await store.copies.counts()).waiting == 0
    assert (await store.copies.counts()).oldest_at is None
    await copied(store, now=NOW - 60)
    await copied(store)
    [copy] = await store.copies.claim(worker, "alice", NOW, 1)
    await finish(store, copy)
    counts = await store.copies.counts()
    assert (counts.waiting, counts.oldest_at) == (3, NOW - 60)


async def test_a_crash_uses_up_nothing(store: Store, worker: int, after_a_crash: AfterACrash) -> None:
    task = await copied(store)
    first, _ = await store.copies.claim(worker, "alice", NOW, 9)
    await finish(store, first)
    crashed = await after_a_crash()
    joined = (await crashed.workers.join(NOW, NOW + 2 * LEASE)).worker
    for dead in await crashed.workers.end_expired(NOW + LEASE):
        await crashed.workers.remove(dead)
    [left] = await crashed.copies.claim(joined, "alice", NOW, 9)
    assert (left.position, left.attempts) == (1, 0)
    assert await finish(crashed, left)
    assert await stored_events(crashed) == [task.id]


async def test_copies_go_with_their_task_and_are_deleted_later(store: Store, worker: int) -> None:
    task = await copied(store)
    young = await copied(store, now=NOW + DAY)
    for copy in await store.copies.claim(worker, "alice", NOW + DAY, 9):
        await finish(store, copy)
    await tidied(store)
    assert await store.tasks.get(task.id) is None
    assert await store.copies.stored(task.id, 0) is None
    assert await store.copies.stored(young.id, 0) is not None
    assert await store.copies.waiting(9) == [task.id]
    await store.copies.done([task.id])
    assert await store.copies.waiting(9) == []


async def test_a_pending_copy_keeps_its_task(store: Store, worker: int) -> None:
    task = await copied(store, Output(OUTPUT.files[:1]))
    [copy] = await store.copies.claim(worker, "alice", NOW, 9)
    await tidied(store)
    assert await store.tasks.get(task.id) is not None
    await store.copies.put_back(copy, NOW + 2 * DAY)
    await tidied(store)
    assert await store.tasks.get(task.id) is not None


async def test_an_abandoned_copy_does_not_keep_its_task(store: Store) -> None:
    task = await copied(store)
    await tidied(store)
    assert await store.tasks.get(task.id) is None


async def test_due_times_go_back_with_the_clock(store: Store, worker: int) -> None:
    await copied(store, Output(OUTPUT.files[:1]))
    [copy] = await store.copies.claim(worker, "alice", NOW, 9)
    await store.copies.put_back(copy, NOW + 5000)
    await store.clock.set_back(NOW, NOW - DAY)
    assert await store.copies.next_due() == NOW - DAY + 5000


async def test_copies_can_be_begun_later_and_only_once(store: Store, worker: int) -> None:
    plain = Output(tuple(File(url, "image", "image_urls.0") for url in URLS))
    task = await copied(store, plain)
    assert await store.copies.start(task.id, NOW) == 2
    assert await store.copies.start(task.id, NOW) == 0
    for copy in await store.copies.claim(worker, "alice", NOW, 9):
        await finish(store, copy)
    assert await stored_events(store) == [task.id]
    assert await store.copies.start("tsk_unknown", NOW) == 0
    unfinished = await added(store)
    assert await store.copies.start(unfinished.id, NOW) == 0


async def test_copies_are_claimed_from_one_owner(store: Store, worker: int) -> None:
    for owner, files in (("alice", 2), ("bob", 1), ("carol", 1)):
        await copied(store, Output(OUTPUT.files[:files]), owner=owner)
    assert sorted(await store.copies.owners_due(NOW)) == ["alice", "bob", "carol"]
    assert await store.copies.owners_due(NOW - 1) == []
    [bobs] = await store.copies.claim(worker, "bob", NOW, 9)
    assert bobs.owner == "bob"
    [carols] = await store.copies.claim(worker, "carol", NOW, 9)
    await store.copies.put_back(carols, NOW + 5000)
    assert await store.copies.owners_due(NOW) == ["alice"]
    assert sorted(await store.copies.owners_due(NOW + 5000)) == ["alice", "carol"]
