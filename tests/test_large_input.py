"""Hundreds of thousands of wrong items in one request: answered quickly, told in part, felt by nobody else."""

import asyncio
import time
from typing import Any

import pytest

from tests.conftest import Service

MANY = 150_000
MOST_TOLD = 50
MESSAGES = {"provider": "piapi", "model": "gpt-4o", "task_type": "chat-completions"}
LORA = {"provider": "piapi", "model": "Qubico/flux1-dev-advanced", "task_type": "txt2img-lora"}
UNKNOWN = {"provider": "piapi", "model": "kling", "task_type": "video_generation"}
WRONG: dict[str, dict[str, Any]] = {
    "messages": MESSAGES | {"input": {"messages": [1] * MANY}},
    "one wrong message at the end": MESSAGES | {"input": {"messages": ["a"] * MANY + [1]}},
    "LoRA names": LORA | {"input": {"prompt": "p", "lora_settings": [{"lora_type": ""}] * (MANY // 4)}},
    "metadata": UNKNOWN | {"input": {"prompt": "p"}, "metadata": {str(n): n for n in range(MANY // 3)}},
    "callback events": UNKNOWN | {"input": {"prompt": "p"}, "callback_events": ["x"] * MANY},
}


@pytest.mark.parametrize("case", WRONG)
async def test_many_wrong_items_are_reported_in_part_and_delay_nobody(service: Service, case: str) -> None:
    worst = 0.0
    done = asyncio.Event()

    async def innocent() -> None:
        nonlocal worst
        while not done.is_set():
            started = time.monotonic()
            await service.bob.get("/v1/tasks")
            worst = max(worst, time.monotonic() - started)

    other = asyncio.create_task(innocent())
    response = await service.client.post("/v1/tasks", json=WRONG[case])
    done.set()
    await other
    assert response.status_code == 422, response.text[:300]
    assert 1 <= len(response.json()["errors"]) <= MOST_TOLD
    assert worst < 1


async def test_many_unknown_names_are_warned_of_in_part(service: Service) -> None:
    names = [{"lora_type": f"name-{n}"} for n in range(5_000)]
    response = await service.client.post("/v1/tasks", json=UNKNOWN | {"input": {"prompt": "p", "lora_settings": names}})
    assert response.status_code == 202, response.text[:300]
    assert len(response.json()["warnings"]) <= MOST_TOLD
