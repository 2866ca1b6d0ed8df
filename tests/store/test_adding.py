"""Tasks as they are added."""

import asyncio
from typing import Any

import pytest

from service.core.errors import IdempotencyMismatch
from service.core.points import Point
from service.core.result import Copy, Failure, File, Output
from service.core.task import Status as S
from service.ports.queries import Idempotency, TaskQuery
from service.ports.store import Store
from tests.store.parts import DAY, NOW, URL, a_task, added, events, to


async def test_a_task_comes_back_as_it_was_stored(store: Store) -> None:
    task = a_task(
        input={"prompt": "Ünïcödé 🐱\u2028", "deep": [[{"n": 2**53 + 1}]], "none": None, "float": 0.1},
        metadata={"order": "A-17", "paid": True},
        config={"service_mode": "public"},
        callback_url=URL,
        callback_events=("task.completed",),
        warnings=("unknown lora",),
        links={"self": "/v1/tasks/x"},
    )
    await store.tasks.add(task, None)
    assert await store.tasks.get(task.id) == task


async def test_what_happens_to_a_task_comes_back_too(store: Store) -> None:
    task = await added(store)
    changes: dict[str, Any] = {
        "output": Output((File(URL, "image", "image_url", copy=Copy("pending")),), "text", {"image_url": URL}),
        "error": Failure("no_output", "x"),
        "usage": {"consume": 1},
        "provider_task_id": "p-1",
        "provider_status": "Completed",
        "expires_at": NOW + DAY,
        "sent_at": NOW,
        "finished_by_us": True,
        "checks": 3,
        "earlier_ids": ("p-0",),
        "attempts": 2,
    }
    moved = await store.tasks.change(Point.CALLBACK, task.id, to(S.FAILED, NOW + 5, **changes))
    assert await store.tasks.get(task.id) == moved
    assert moved is not None
    assert all(getattr(moved, name) == value for name, value in changes.items())


async def test_an_unknown_task_is_none(store: Store) -> None:
    assert await store.tasks.get("tsk_nobody") is None
    assert await store.tasks.change(Point.CANCEL, "tsk_nobody", to(S.CANCELED)) is None


async def test_the_same_key_and_body_give_the_first_task(store: Store) -> None:
    key = Idempotency("k", b"body")
    first, replayed = await store.tasks.add(a_task(), key)
    again, replayed_again = await store.tasks.add(a_task(), key)
    assert (again.id, replayed, replayed_again) == (first.id, False, True)
    assert len(await store.tasks.find(TaskQuery(None))) == len(await events(store)) == 1


async def test_the_same_key_with_another_body_is_refused(store: Store) -> None:
    await store.tasks.add(a_task(), Idempotency("k", b"body"))
    with pytest.raises(IdempotencyMismatch):
        await store.tasks.add(a_task(), Idempotency("k", b"other"))
    assert len(await store.tasks.find(TaskQuery(None))) == 1


async def test_a_key_belongs_to_its_owner(store: Store) -> None:
    key = Idempotency("k", b"body")
    await store.tasks.add(a_task(owner="alice"), key)
    _, replayed = await store.tasks.add(a_task(owner="bob"), key)
    assert not replayed


async def test_one_key_used_many_times_at_once_makes_one_task(store: Store) -> None:
    key = Idempotency("k", b"body")
    answers = await asyncio.gather(*(store.tasks.add(a_task(), key) for _ in range(10)))
    assert len({task.id for task, _ in answers}) == 1
    assert sum(not replayed for _, replayed in answers) == 1
