"""One damaged row stops nothing: it is named in the log and left out."""

import sqlite3
from pathlib import Path

import pytest

from service.store.sqlite import unreadable
from service.workers import submit_queue
from tests.conftest import Subscriber, running, txt2img


@pytest.fixture(autouse=True)
def nothing_named_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreadable, "_named", set())


def damage(folder: Path, statement: str, *values: str) -> None:
    db = sqlite3.connect(folder / "test.db")
    with db:
        assert db.execute(statement, values).rowcount == 1
    db.close()


def flipped(state: bytes) -> bytes:
    """A bit of each tenth byte after the id is another one."""
    return bytes(byte ^ 0x10 if at > 60 and at % 10 == 0 else byte for at, byte in enumerate(state))


def damage_task(folder: Path, task_id: str) -> None:
    db = sqlite3.connect(folder / "test.db")
    with db:
        [(state,)] = db.execute("SELECT state FROM tasks WHERE id = ?", (task_id,)).fetchall()
        db.execute("UPDATE tasks SET state = ? WHERE id = ?", (flipped(state), task_id))
    db.close()


@pytest.mark.parametrize("sandbox_says", ["delay=0.05", "hold=gate delay=0.01", "submit=accepted_500 callback=none"])
async def test_a_damaged_task_stops_neither_a_start_nor_a_list_nor_the_queue(
    env: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, sandbox_says: str
) -> None:
    async with running(env) as service:
        broken = await service.submit(txt2img(sandbox_says, metadata={"order": "x" * 300}))
        await service.event(broken["id"], "task.submitted" if "500" not in sandbox_says else "task.unconfirmed")
        whole = await service.finished(txt2img(metadata={"order": "x" * 300}))
    damage_task(tmp_path, broken["id"])
    async with running(env | {"SWEEP_AFTER": "0.1", "TASK_DEADLINE": "0.5"}) as service:
        assert (await service.finished(txt2img()))["status"] in ("completed", "failed")
        listed = (await service.client.get("/v1/tasks")).json()["data"]
        assert [task["id"] for task in listed][1:] == [whole["id"]]
        by_metadata = await service.client.get("/v1/tasks", params={"metadata.order": "x" * 300})
        assert [task["id"] for task in by_metadata.json()["data"]] == [whole["id"]]
        answer = await service.client.get(f"/v1/tasks/{broken['id']}")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert (await service.anybody.get("/readyz")).status_code == 200
    assert caplog.text.count(f"task {broken['id']} cannot be read") == 1


async def test_a_damaged_task_at_the_head_of_the_queue_is_passed(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_queue, "LOOK_AGAIN", 0.1)
    async with running(env | {"PIAPI_MAX_INFLIGHT": "1"}) as service:
        await service.submit(txt2img("hold=gate"))
        queued = [await service.submit(txt2img()) for _ in range(3)]
    for task in queued[:2]:
        damage_task(tmp_path, task["id"])
    async with running(env | {"PIAPI_MAX_INFLIGHT": "2"}) as service:
        await service.event(queued[2]["id"], "task.completed")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE subscriptions SET events = '[\"task'", "UPDATE subscriptions SET headers = '{' WHERE enabled"],
)
async def test_a_damaged_subscription_stops_no_start(
    env: dict[str, str], tmp_path: Path, subscriber: Subscriber, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(env) as service:
        made = (await service.client.post("/v1/subscriptions", json={"url": subscriber.url})).json()
    damage(tmp_path, statement)
    async with running(env) as service:
        assert (await service.client.get("/v1/subscriptions")).json()["data"] == []
        assert (await service.finished(txt2img()))["status"] == "completed"
    assert f"subscription {made['id']} cannot be read" in caplog.text


async def test_a_delivery_with_damaged_attempts_goes_on(
    env: dict[str, str], tmp_path: Path, subscriber: Subscriber
) -> None:
    async with running(env | {"RETRY_SCHEDULE": "1"}) as service:
        await service.client.post("/v1/subscriptions", json={"url": f"{subscriber.url}", "events": ["task.queued"]})
        await service.finished(txt2img())
        await subscriber.count(1)
    damage(tmp_path, "UPDATE deliveries SET attempts = '[{', status = 'pending', tries = 1, next_attempt_at = 1")
    async with running(env):
        await subscriber.count(2)
