"""Looking for tasks."""

import itertools

import pytest

from service.core.points import Point
from service.core.task import Status as S
from service.core.task import Task
from service.ports.queries import TaskQuery
from service.ports.store import Store
from tests.store.parts import TEXTS, a_mixture, added, agrees, finished, sent, some_pages, to


async def test_a_query_without_terms_finds_everything_newest_first(store: Store) -> None:
    tasks = [await added(store, owner=owner) for owner in ("alice", "bob", "alice")]
    found = await store.tasks.find(TaskQuery(None))
    assert [task.id for task in found] == [task.id for task in reversed(tasks)]


async def test_every_term_of_a_query_narrows_it(store: Store) -> None:
    wanted = await finished(store, metadata={"order": "A-17", "n": 1})
    await added(store, metadata={"order": "A-17"})
    for other in ({"owner": "bob"}, {"provider": "modelslab"}, {"model": "x"}, {"metadata": {"order": "B"}}):
        await finished(store, **{"metadata": {"order": "A-17"}} | other)
    query = TaskQuery("alice", status="completed", provider="piapi", model=wanted.model, metadata={"order": "A-17"})
    assert [task.id for task in await store.tasks.find(query)] == [wanted.id]


@pytest.mark.parametrize("value", list(TEXTS))
async def test_tasks_are_found_by_the_text_of_their_metadata(store: Store, value: str) -> None:
    tasks = {text: await added(store, metadata={"k": kept}) for text, kept in TEXTS.items()}
    found = await store.tasks.find(TaskQuery("alice", metadata={"k": value}))
    assert [task.id for task in found] == [tasks[value].id]


@pytest.mark.parametrize("key", ["", "a.b", 'a"b', "a'b", "a\\b", "$[0]", "ключ 🐈", "a" * 5000])
async def test_any_text_is_a_key_of_metadata(store: Store, key: str) -> None:
    task = await added(store, metadata={"a": 1, key: 2, key + "b": 3})
    assert await store.tasks.find(TaskQuery("alice", metadata={key: "2"})) == [task]
    assert await store.tasks.find(TaskQuery("alice", metadata={key: "3"})) == []


async def test_long_texts_with_the_same_beginning_are_distinct(store: Store) -> None:
    long = "https://example.com/" * 50
    tasks = [await added(store, metadata={long + end: long + end, long + "z": long, long: 1}) for end in "ab"]
    for task, end in zip(tasks, "ab", strict=True):
        assert await store.tasks.find(TaskQuery("alice", metadata={long + end: long + end})) == [task]
    for other in ({long + "a": long + "b"}, {long + "a": long}, {long: long + "a"}, {long + "c": long + "a"}):
        assert await store.tasks.find(TaskQuery("alice", metadata=other)) == []


async def test_a_search_finds_in_pages_what_a_look_at_every_task_would(store: Store) -> None:
    tasks = await a_mixture(store, 60)
    for owner, status, provider, model, metadata in itertools.product(
        (None, "alice", "nobody"),
        (None, "queued", "processing", "completed", "failed"),
        (None, "piapi"),
        (None, "x"),
        ({}, {"all": "yes"}, {"third": "0"}, {"third": "0", "all": "yes", "fifth": "0"}, {"third": "0", "no": ""}),
    ):
        query = TaskQuery(owner, status, provider, model, metadata, limit=3)
        assert [task.id for task in await some_pages(store, query, len(tasks))] == [
            task.id for task in reversed(tasks) if agrees(task, query)
        ], query


@pytest.mark.parametrize("status", list(S))
async def test_tasks_are_found_by_any_status_newest_first(store: Store, status: S) -> None:
    made: list[Task] = []
    for owner in ("alice", "bob", "alice"):
        for one in set(S) - {S.QUEUED}:
            task = await store.tasks.change(Point.CALLBACK, (await sent(store, owner=owner)).id, to(one))
            assert task is not None
            made.append(task)
    made += [await added(store, owner=owner) for owner in ("alice", "bob", "alice")]
    wanted = [task.id for task in made if task.owner == "alice" and task.status is status]
    found = await store.tasks.find(TaskQuery("alice", status=status.value))
    assert [task.id for task in found] == wanted[::-1]


async def test_pages_of_tasks_join_without_gap_or_repeat(store: Store) -> None:
    tasks = [await added(store) for _ in range(7)]
    assert await some_pages(store, TaskQuery("alice", limit=3), 7) == tasks[::-1]
