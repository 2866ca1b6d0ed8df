"""One damaged row stops nothing: it is named in the log and left out."""

import sqlite3
from pathlib import Path

import pytest
from starlette.responses import Response

from service.store.sqlite import unreadable
from service.store.sqlite.examine import examine
from service.workers import submit_queue
from tests.conftest import Subscriber, running, txt2img


@pytest.fixture(autouse=True)
def nothing_named_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreadable, "_named", set())


def damage(folder: Path, statement: str, *values: str | bytes) -> None:
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
        response = await service.client.get(f"/v1/tasks/{broken['id']}")
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
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


INVALID = b'{"id": "\xff\xfe"}'


@pytest.mark.parametrize("body", [b'{"id": "evt', b"", INVALID, "text"])
async def test_a_damaged_event_is_left_out_of_lists_streams_and_replays(
    env: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, subscriber: Subscriber, body: bytes | str
) -> None:
    async with running(env) as service:
        tasks = [await service.finished(txt2img()) for _ in range(3)]
    damage(tmp_path, "UPDATE events SET body = ? WHERE type = 'task.completed' AND task_id = ?", body, tasks[1]["id"])
    rest = [tasks[0]["id"], tasks[2]["id"]]
    async with running(env) as service:
        for path in ("/v1/events?types=task.completed", "/v1/events?types=task.completed&limit=1"):
            found = (await service.client.get(path)).json()
            assert [event["data"]["id"] for event in found["data"]] == rest[: len(found["data"])]
        after = found["next_after"]
        # A page of the damaged one alone is not the end.
        page = (await service.client.get(f"/v1/events?types=task.completed&limit=1&after={after}")).json()["data"]
        assert [event["data"]["id"] for event in page] == [tasks[2]["id"]]
        latest = (await service.client.get("/v1/events/latest?types=task.completed")).json()
        assert [event["data"]["id"] for event in latest] == rest[::-1]
        told = []
        async for event in service.events():
            told += [event["data"]["id"]] if event["type"] == "task.completed" else []
            if len(told) == 2:
                break
        assert told == rest
        made = await service.client.post("/v1/subscriptions", json={"url": subscriber.url})
        path = f"/v1/subscriptions/{made.json()['id']}/replay"
        assert (await service.client.post(path, json={"after": 0})).status_code == 202
        await subscriber.count(2)
        assert {event["data"]["id"] for event in subscriber.events} == set(rest)
    assert caplog.text.count("event ") == 1


async def test_a_delivery_whose_event_is_damaged_is_set_aside_and_the_next_go_out(
    env: dict[str, str], tmp_path: Path, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    subscriber.answer = lambda request, body: Response(status_code=500)
    async with running(env | {"RETRY_SCHEDULE": "3600"}) as service:
        await service.client.post("/v1/subscriptions", json={"url": subscriber.url, "events": ["task.completed"]})
        tasks = [await service.finished(txt2img()) for _ in range(2)]
        await subscriber.count(2)
    damage(
        tmp_path, "UPDATE events SET body = ? WHERE type = 'task.completed' AND task_id = ?", INVALID, tasks[0]["id"]
    )
    for task in tasks:
        damage(tmp_path, "UPDATE deliveries SET next_attempt_at = 1 WHERE task_id = ?", task["id"])
    async with running(env):
        await subscriber.count(3)
    assert subscriber.events[2]["data"]["id"] == tasks[1]["id"]
    assert "delivery dlv_0000000000000001 cannot be read" in caplog.text


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE deliveries SET status = 'pendinh' WHERE n = 1",
        "UPDATE deliveries SET event_type = CAST(x'ff' AS TEXT), url = CAST(x'fe' AS TEXT) WHERE n = 1",
        "UPDATE deliveries SET attempts = '{\"at\": 1}' WHERE n = 1",
        "UPDATE deliveries SET attempts = '[1]' WHERE n = 1",
    ],
)
async def test_a_damaged_delivery_stops_no_list(
    env: dict[str, str], tmp_path: Path, subscriber: Subscriber, statement: str
) -> None:
    async with running(env) as service:
        await service.client.post("/v1/subscriptions", json={"url": subscriber.url, "events": ["task.completed"]})
        for _ in range(2):
            await service.finished(txt2img())
        await subscriber.count(2)
    damage(tmp_path, statement)
    async with running(env) as service:
        found = (await service.client.get("/v1/deliveries")).json()["data"]
        assert found[0]["id"] == "dlv_0000000000000002"
        assert (await service.client.get("/v1/deliveries?status=delivered")).json()["data"][0] == found[0]


def damage_pages(file: Path) -> None:
    """Two in the middle."""
    whole = file.read_bytes()
    middle = len(whole) // 2 // 4096 * 4096
    file.write_bytes(whole[:middle] + b"\xa5" * 8192 + whole[middle + 8192 :])


async def test_doctor_names_damaged_rows_and_a_damaged_file(env: dict[str, str], tmp_path: Path) -> None:
    async with running(env) as service:
        await service.client.post("/v1/subscriptions", json={"url": "http://127.0.0.1:9/"})
        task = await service.finished(txt2img(metadata={"pad": "x" * 50_000}))
    file = str(tmp_path / "test.db")
    assert examine(file).unreadable == examine(file).damage == []
    damage(tmp_path, "UPDATE events SET body = ? WHERE type = 'task.completed' AND task_id = ?", INVALID, task["id"])
    damage(tmp_path, "UPDATE subscriptions SET headers = '{'")
    assert [name.split()[0] for name in examine(file).unreadable] == ["subscription", "event"]
    damage_pages(tmp_path / "test.db")
    assert examine(file).damage
