"""Two runs on one database, with other settings the second time."""

import logging

import pytest

from tests.conftest import TXT2IMG, running, txt2img
from tests.test_doors import held, read, send

NEW_KEY = "another-key-of-this-test-with-32-characters"


@pytest.mark.parametrize("provider", ["piapi", "modelslab"])
async def test_without_its_key_a_providers_results_are_still_accepted(
    env: dict[str, str], sandbox: str, provider: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(env) as service:
        callback = await held(service, sandbox, provider)
    caplog.set_level(logging.WARNING)
    async with running(env | {f"{provider.upper()}_API_KEY": ""}) as service:
        assert f"1 tasks of {provider} are open, and {provider.upper()}_API_KEY is not set" in caplog.text
        assert (await send(service, callback, callback.body())).status_code == 200
        assert (await read(service, callback))["status"] == "completed"


async def test_without_its_key_a_repeated_request_still_returns_the_first_task(env: dict[str, str]) -> None:
    async with running(env) as service:
        first = await service.submit(TXT2IMG, **{"Idempotency-Key": "order-17"})
    async with running(env | {"PIAPI_API_KEY": ""}) as service:
        again = await service.client.post("/v1/tasks", json=TXT2IMG, headers={"Idempotency-Key": "order-17"})
        assert (again.status_code, again.json()["id"]) == (202, first["id"])
        assert again.headers["idempotent-replayed"] == "true"
        other = await service.client.post("/v1/tasks", json=txt2img(), headers={"Idempotency-Key": "order-17"})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
        fresh = await service.client.post("/v1/tasks", json=TXT2IMG, headers={"Idempotency-Key": "order-18"})
        assert (fresh.status_code, fresh.json()["code"]) == (422, "provider_not_configured")


async def test_after_a_rotation_an_unconfirmed_task_is_found_under_its_old_address(env: dict[str, str]) -> None:
    async with running(env) as service:
        lost = await service.submit(txt2img("submit=accepted_500 callback=none"))
        await service.event(lost["id"], "task.unconfirmed")
    async with running(env | {"SECRET_KEY": f"{NEW_KEY},{env['SECRET_KEY']}", "SWEEP_AFTER": "0.2"}) as service:
        await service.event(lost["id"], "task.completed")
