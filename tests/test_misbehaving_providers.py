"""What the sandbox can do wrong on request, and what becomes of the task: users may try the same by hand."""

from typing import Any

import pytest

from service.core import transitions
from service.tools.sandbox.untidy import WAYS
from tests.conftest import Service, img2img, txt2img

UNTIDY = [f"json={way}" for way in WAYS]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "CHECKS_IN_DOUBT", (0.1, 0.1, 0.1))


@pytest.mark.parametrize("make", [txt2img, img2img])
@pytest.mark.parametrize("asked", [*UNTIDY, "status=succeeded", "status=Done", "late_output=1"])
async def test_a_result_in_an_odd_format_is_a_result(service: Service, make: Any, asked: str) -> None:
    task = await service.finished(make(asked))
    if task["status"] != "completed":  # the first telling was empty
        await service.event(task["id"], "task.completed")
        task = (await service.client.get(task["links"]["self"])).json()
    assert task["status"] == "completed"
    assert task["output"]["url"].startswith("http")


async def test_an_inline_film_is_kept_and_served(service: Service) -> None:
    task = await service.finished(txt2img("output=film", model="Qubico/wanx", task_type="txt2video-1.3b"))
    [file] = task["output"]["files"]
    assert file["kind"] == "video"
    assert (await service.anybody.get(file["url"])).headers["content-type"] == "video/mp4"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("submit=quota", "exceeded your current quota"),
        ("submit=firewall", "firewall"),
        ("submit=redirect", "PIAPI_BASE_URL"),
    ],
)
async def test_a_refusal_in_an_odd_format_is_a_failure_with_advice(service: Service, asked: str, said: str) -> None:
    task = await service.finished(txt2img(asked))
    assert task["status"] == "failed"
    assert said in f"{task['error']}"
    assert "<" not in task["error"]["message"]
