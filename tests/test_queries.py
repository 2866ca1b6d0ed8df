"""Query parameters of every list: what can be wrong with one is a 422 that names it."""

import pytest

from service.core.callback import CALLBACK_RESULTS
from tests.conftest import TXT2IMG, Service

LISTS = ("/v1/tasks", "/v1/events", "/v1/events/latest", "/v1/subscriptions", "/v1/deliveries", "/v1/callbacks")


async def pointers(service: Service, address: str) -> list[str]:
    response = await service.admin.get(address)
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed"), (address, response.text)
    return [fault["pointer"] for fault in response.json()["errors"]]


async def test_a_filter_with_an_unknown_value_is_named(service: Service) -> None:
    stream = (await service.submit(TXT2IMG))["links"]["events"]
    for path, name in (
        ("/v1/tasks", "status"),
        ("/v1/tasks", "provider"),
        ("/v1/events", "types"),
        ("/v1/events/latest", "types"),
        ("/v1/deliveries", "status"),
        ("/v1/callbacks", "result"),
        (stream, "until"),
    ):
        for word in ("zz", "", "Completed", "%00"):
            assert await pointers(service, f"{path}?{name}={word}") == [f"?{name}"], (path, word)


@pytest.mark.parametrize("path", LISTS)
async def test_a_repeated_parameter_is_named(service: Service, path: str) -> None:
    assert await pointers(service, f"{path}?limit=1&limit=2") == ["?limit"]
    assert await pointers(service, f"{path}?limit=1&limit=1") == ["?limit"]
    assert await pointers(service, f"{path}?colour=1&colour=2") == ["?colour"]


async def test_repeated_metadata_is_named(service: Service) -> None:
    assert await pointers(service, "/v1/tasks?metadata.a=1&metadata.a=2") == ["?metadata.a"]


async def test_repeated_event_types_get_a_hint_to_use_commas(service: Service) -> None:
    response = await service.client.get("/v1/events?types=ping&types=task.failed")
    assert response.status_code == 422
    assert "separate the types by commas" in response.json()["detail"]


async def test_a_client_that_adds_its_position_at_each_reconnect_goes_on_from_the_last(service: Service) -> None:
    """Some append lastEventId to the address they had, which then holds it more than once."""
    task = await service.finished(TXT2IMG)
    last = (await service.client.get("/v1/events/latest", params={"limit": 1})).json()[0]["seq"]
    resume = f"{task['links']['events']}?lastEventId=1&lastEventId={last}"
    assert (await service.client.get(resume)).status_code == 204


@pytest.mark.parametrize("result", CALLBACK_RESULTS)
async def test_every_callback_result_can_be_filtered_by(service: Service, result: str) -> None:
    response = await service.admin.get("/v1/callbacks", params={"result": result})
    assert response.json() == {"data": [], "next_cursor": None}
