"""The moves of a task, whatever comes in whatever order: one finish, one event per move, never backwards."""

import pytest

from tests.conftest import Service, img2img


async def test_a_result_that_comes_after_a_refused_submit_still_counts(service: Service) -> None:
    task = await service.submit(img2img("submit=accepted_500 delay=0.05"))
    event = await service.event(task["id"], "task.completed")
    assert event["data"]["output"]["url"]
    types = [one["type"] for one in (await service.client.get("/v1/events")).json()["data"]]
    assert types == ["task.queued", "task.failed", "task.completed"]
