"""Section 5 of the API, the lists: events of the owner, oldest first and newest first."""

from typing import Any

import httpx
import pytest

from tests.conftest import TXT2IMG, Service, Subscriber, running, txt2img

MOVES = ["task.queued", "task.submitted", "task.processing", "task.completed"]


async def events(client: httpx.AsyncClient, **query: str | int) -> dict[str, Any]:
    response = await client.get("/v1/events", params=query)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def test_an_event_has_an_id_a_seq_a_type_a_time_and_the_task(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    event = (await events(service.client))["data"][-1]
    assert set(event) == {"id", "seq", "type", "timestamp", "data"}
    assert event["id"].startswith("evt_")
    assert (event["type"], event["timestamp"]) == ("task.completed", task["finished_at"])
    # The stream link is signed with the time at which it was made.
    assert {**event["data"], "links": None} == {**task, "links": None}


async def test_there_is_one_event_for_each_move_and_each_shows_the_task_as_it_was(service: Service) -> None:
    await service.finished(TXT2IMG)
    found = (await events(service.client))["data"]
    assert [event["type"] for event in found] == MOVES
    assert [f"task.{event['data']['status']}" for event in found] == MOVES


async def test_events_are_listed_oldest_first_and_paged_by_after(service: Service) -> None:
    for _ in range(3):
        await service.finished(txt2img("delay=0"))
    seen, after = [], 0
    while page := (found := await events(service.client, after=after, limit=5))["data"]:
        seen += [event["seq"] for event in page]
        after = found["next_after"]
        assert after == page[-1]["seq"]
    assert seen == sorted(set(seen))
    assert len(seen) == 12
    assert (await events(service.client, after=after))["next_after"] == after


async def test_events_are_filtered_by_types_and_by_task(service: Service) -> None:
    one, other = await service.finished(TXT2IMG), await service.finished(TXT2IMG)
    found = (await events(service.client, types="task.completed, task.queued", task_id=other["id"]))["data"]
    assert [event["type"] for event in found] == ["task.queued", "task.completed"]
    assert {event["data"]["id"] for event in found} == {other["id"]}
    assert one["id"] != other["id"]


async def test_latest_is_a_bare_array_newest_first(service: Service) -> None:
    await service.finished(TXT2IMG)
    found = (await service.client.get("/v1/events/latest")).json()
    assert [event["type"] for event in found] == MOVES[::-1]
    query: dict[str, str | int] = {"types": "task.queued,task.completed", "limit": 1}
    found = (await service.client.get("/v1/events/latest", params=query)).json()
    assert [event["type"] for event in found] == ["task.completed"]


async def test_a_list_shows_the_same_event_that_the_webhook_sent(service: Service, subscriber: Subscriber) -> None:
    await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
    await service.finished(TXT2IMG)
    await subscriber.count(1)
    assert (await events(service.client, types="task.completed"))["data"] == subscriber.events


async def test_each_owner_sees_the_own_events_and_an_admin_all(service: Service) -> None:
    task = await service.finished(TXT2IMG)
    assert (await events(service.bob))["data"] == []
    assert (await events(service.bob, task_id=task["id"]))["data"] == []
    assert (await service.bob.get("/v1/events/latest")).json() == []
    assert len((await events(service.admin))["data"]) == len(MOVES)


async def test_a_seq_is_never_given_twice_also_after_a_restart(env: dict[str, str]) -> None:
    async with running(env) as service:
        await service.finished(TXT2IMG)
        last = (await events(service.client))["next_after"]
    async with running(env) as service:
        await service.finished(TXT2IMG)
        found = (await events(service.client, after=last))["data"]
    assert [event["type"] for event in found] == MOVES
    assert found[0]["seq"] > last


@pytest.mark.parametrize(
    ("name", "value"),
    [("after", "-1"), ("after", "x"), ("after", "9" * 25), ("limit", "0"), ("types", "task.done"), ("types", "")],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/latest"])
async def test_a_bad_query_is_422_and_named(service: Service, path: str, name: str, value: str) -> None:
    response = await service.client.get(path, params={name: value})
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert response.json()["errors"][0]["pointer"] == f"?{name}"
