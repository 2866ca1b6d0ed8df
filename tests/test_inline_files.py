"""Files that a provider sends inline: kept until they are stored, and served for as long as they are kept."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.core.inline import inline_file, is_placeholder, with_addresses
from service.core.result import File, Output
from service.workers import retry
from tests.conftest import Service, running, txt2img

STREAMED = {
    "provider": "piapi",
    "model": "gpt-image-1",
    "task_type": "image-generations",
    "input": {"prompt": "a city [sandbox: delay=0.05]", "stream": True, "partial_images": 1},
}
PLAIN = {**STREAMED, "input": {"prompt": "a city [sandbox: delay=0.05 output=base64]", "stream": False}}
BY_CALLBACK = txt2img("output=base64")


class FullDisk:
    """A file where the media folder should be: nothing can be written into it."""

    def __init__(self, env: dict[str, str]) -> None:
        self._file = Path(env["MEDIA_DIR"])
        self._file.write_text("full")

    def make_room(self) -> None:
        self._file.unlink()


class Told(logging.Handler):
    """Sets `event` when a line that holds `words` is logged."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.event.set()


@contextmanager
def logged(words: str) -> Iterator[asyncio.Event]:
    told, logger = Told(words), logging.getLogger("callbridge")
    logger.addHandler(told)
    try:
        yield told.event
    finally:
        logger.removeHandler(told)


@pytest.mark.sqlite
@pytest.mark.parametrize("body", [STREAMED, PLAIN], ids=["streamed", "plain"])
async def test_a_picture_is_stored_once_a_full_disk_has_space_again(
    service: Service, env: dict[str, str], body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "PAUSES", (0.05,) * 1000)
    disk = FullDisk(env)
    with logged("not stored yet") as refused:
        task = await service.submit(body)
        await asyncio.wait_for(refused.wait(), 20)
        assert (await service.client.get(f"/v1/tasks/{task['id']}")).json()["status"] != "completed"
        disk.make_room()
        done = await service.event(task["id"], "task.completed")
    picture = await service.anybody.get(done["data"]["output"]["url"])
    assert (picture.status_code, picture.content[:4]) == (200, b"\x89PNG")
    assert picture.headers["content-type"] == "image/png"


@pytest.mark.sqlite
async def test_a_callback_with_a_picture_is_refused_while_the_disk_is_full_and_accepted_on_retry(
    service: Service, env: dict[str, str]
) -> None:
    disk = FullDisk(env)
    task = await service.submit(
        {**BY_CALLBACK, "input": {"prompt": "a cat [sandbox: output=base64 delay=0.05 hold=go]"}}
    )
    await service.event(task["id"], "task.processing")
    sandbox = env["PIAPI_BASE_URL"]
    [request] = [
        one
        for one in (await service.anybody.get(f"{sandbox}/sandbox/requests")).json()["requests"]
        if one["method"] == "POST"
    ]
    webhook = request["body"]["config"]["webhook_config"]
    headers = {"x-webhook-secret": webhook["secret"]}
    shown = (await service.client.get(f"/v1/tasks/{task['id']}")).json()
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    data = {"task_id": shown["provider_task_id"], "status": "completed", "output": {"image_base64": png}}
    response = await service.anybody.post(webhook["endpoint"], headers=headers, json={"data": data})
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    disk.make_room()
    assert (await service.anybody.post(webhook["endpoint"], headers=headers, json={"data": data})).status_code == 200
    shown = (await service.client.get(f"/v1/tasks/{task['id']}")).json()
    assert (await service.anybody.get(shown["output"]["url"])).content.startswith(b"\x89PNG")
    assert png not in str(shown)


async def test_a_picture_is_served_after_the_secret_key_was_replaced(env: dict[str, str]) -> None:
    async with running(env) as service:
        task = await service.finished(BY_CALLBACK)
    async with running(env | {"SECRET_KEY": "another-secret-key-with-more-than-32-characters"}) as service:
        shown = (await service.client.get(f"/v1/tasks/{task['id']}")).json()
        assert (await service.anybody.get(shown["output"]["url"])).status_code == 200
        forged = shown["output"]["url"][:-3] + "abc"
        assert (await service.anybody.get(forged)).status_code == 404


def test_addresses_take_the_place_of_placeholders_wherever_they_stand() -> None:
    file = inline_file(b"\x89PNG", "png")
    other = inline_file(b"other", "png")
    output = Output(
        (File(file.placeholder, "image", "a"),),
        f"![x]({file.placeholder})",
        {"a": [file.placeholder, other.placeholder]},
    )
    assert is_placeholder(file.placeholder)
    placed = with_addresses(output, {file.placeholder: "https://bridge.test/media/1"})
    assert placed == Output(
        (File("https://bridge.test/media/1", "image", "a"),),
        "![x](https://bridge.test/media/1)",
        {"a": ["https://bridge.test/media/1", other.placeholder]},
    )
