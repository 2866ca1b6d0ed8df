"""Result files are copied before their provider deletes them, whatever happens meanwhile."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import RedirectResponse, Response

from service.ports.copies import StorageUnavailable
from service.tools.harness.ports import free_port
from tests.buckets import S3, s3_server
from tests.conftest import PATIENCE, Service, Subscriber, environment, running, txt2img
from tests.file_provider import PNG, FileProvider, file_provider
from tests.servers import fresh_database

ROOT = Path(__file__).parent.parent
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
PAGE = b"<!doctype html><title>deleted</title>"


@pytest.fixture
async def provider() -> AsyncIterator[FileProvider]:
    async with file_provider() as one:
        yield one


@pytest.fixture(autouse=True)
def a_store_in_trouble_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.workers.archive.TRY_STORAGE_AGAIN", 0.3)


@pytest.fixture
def env(provider: FileProvider, tmp_path: Path, engine: str) -> dict[str, str]:
    database = {"DATABASE_URL": fresh_database()} if engine == "postgres" else {}
    return (
        environment(provider.url, tmp_path, free_port())
        | database
        | {
            "RESULTS_URL": f"file://{tmp_path / 'results'}",
            "COPY_RETRY_SCHEDULE": "0.05,0.05",
            "MAX_RESULT_BYTES": "200000",
        }
    )


async def stored(service: Service, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Submit, wait for task.stored; the files as it tells them."""
    task = await service.submit(body)
    event = await service.event(task["id"], "task.stored")
    return list(event["data"]["output"]["files"])


def kept(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder / "results")) for path in (folder / "results").rglob("*.*"))


async def test_every_file_is_copied_under_a_readable_name(
    service: Service, provider: FileProvider, tmp_path: Path
) -> None:
    task = await service.finished(provider.task("0.png", "1.jpg"))
    event = await service.event(task["id"], "task.stored")
    day = task["created_at"][:10].replace("-", "/")
    assert kept(tmp_path) == [f"{day}/{task['id']}/0.png", f"{day}/{task['id']}/1.png"]
    for file in event["data"]["output"]["files"]:
        assert file["url"].startswith(provider.url)
        assert file["copy"] == {
            "status": "stored",
            "url": file["copy"]["url"],
            "bytes": len(PNG),
            "content_type": "image/png",
            "sha256": hashlib.sha256(PNG).hexdigest(),
            "error": None,
        }
        assert (await service.anybody.get(file["copy"]["url"])).content == PNG
    assert (await service.client.get(f"/v1/tasks/{task['id']}")).json()["output"] == event["data"]["output"]


async def test_the_finishing_event_does_not_wait_and_says_what_will_come(
    service: Service, provider: FileProvider
) -> None:
    task = await service.finished(provider.task("0.png"))
    completed = await service.event(task["id"], "task.completed")
    (file,) = completed["data"]["output"]["files"]
    nothing = dict.fromkeys(("url", "bytes", "content_type", "sha256", "error"))
    assert file["copy"] == {"status": "pending"} | nothing
    await service.event(task["id"], "task.stored", after=completed["seq"])


async def test_without_results_url_nothing_is_copied(
    env: dict[str, str], provider: FileProvider, tmp_path: Path
) -> None:
    del env["RESULTS_URL"]
    async with running(env) as service:
        task = await service.finished(provider.task("0.png"))
        assert task["output"]["files"][0]["copy"] is None
        stream = await service.client.get(f"/v1/tasks/{task['id']}/events?until=stored")
        assert stream.text.count("event: ") == stream.text.count("event: task.") > 0
        assert stream.text.rstrip().rpartition("event: ")[2].startswith("task.completed")
    assert not (tmp_path / "results").exists()


FAILING = {
    "an HTML page": (lambda request: Response(PAGE), "The response is an HTML page, not an image file.", 3),
    "an empty file": (lambda request: Response(b""), "The file is empty.", 3),
    "busy": (lambda request: Response(status_code=503), "The server responded with status 503.", 3),
    "gone": (
        lambda request: Response(status_code=404),
        "The provider no longer has the file (status 404).",
        1,
    ),
    "too large": (
        lambda request: Response(PNG + bytes(200_000)),
        "The file is larger than MAX_RESULT_BYTES (200000).",
        1,
    ),
    "a redirect for ever": (
        lambda request: RedirectResponse(request.url),
        "The address redirects more than 3 times.",
        4,
    ),
}


@pytest.mark.parametrize(("page", "sentence", "requests"), FAILING.values(), ids=FAILING)
async def test_a_file_that_does_not_come_is_given_up_with_a_sentence(
    service: Service, provider: FileProvider, tmp_path: Path, page: Any, sentence: str, requests: int
) -> None:
    provider.pages["bad.png"] = page
    bad, good = await stored(service, provider.task("bad.png", "good.png"))
    assert (bad["copy"]["status"], bad["copy"]["url"], bad["copy"]["error"]) == ("failed", None, sentence)
    assert good["copy"]["status"] == "stored"
    assert provider.requested.count("bad.png") == requests
    assert [name.rpartition("/")[2] for name in kept(tmp_path)] == ["1.png"]


async def test_a_file_that_comes_at_last_is_copied(service: Service, provider: FileProvider) -> None:
    answers = iter([Response(status_code=500), Response(PAGE), Response(PNG)])
    provider.pages["0.png"] = lambda request: next(answers)
    (file,) = await stored(service, provider.task("0.png"))
    assert file["copy"]["status"] == "stored"


async def test_a_private_address_is_refused(env: dict[str, str], provider: FileProvider) -> None:
    async with running(env | {"ALLOW_PRIVATE_TARGETS": "false"}) as service:
        (file,) = await stored(service, provider.task("0.png"))
    assert file["copy"]["status"] == "failed"
    assert file["copy"]["error"].startswith("The address is refused: ")
    assert provider.requested == []


async def test_task_stored_reaches_who_subscribed_to_it_and_nobody_else(
    service: Service, provider: FileProvider, subscriber: Subscriber
) -> None:
    for body in ({"url": f"{subscriber.url}/plain"}, {"url": f"{subscriber.url}/stored", "events": ["task.stored"]}):
        (await service.client.post("/v1/subscriptions", json=body)).raise_for_status()
    await service.submit(provider.task("0.png", "1.png"))
    await subscriber.count(2)
    assert sorted(zip(subscriber.requests, subscriber.types, strict=True)) == [
        ("/hook/plain", "task.completed"),
        ("/hook/stored", "task.stored"),
    ]


async def test_a_stream_until_stored_ends_there_and_the_plain_one_before(
    service: Service, provider: FileProvider
) -> None:
    task = await service.submit(provider.task("0.png"))
    address = f"/v1/tasks/{task['id']}/events"
    followed = (await service.client.get(f"{address}?until=stored")).text
    assert [line for line in followed.splitlines() if line.startswith("event: ")][-2:] == [
        "event: task.completed",
        "event: task.stored",
    ]
    plain = (await service.client.get(address)).text
    assert "event: task.completed" in plain
    assert "task.stored" not in plain
    last = followed.rpartition("\nid: ")[2].partition("\n")[0]
    for query, after, status in (("?until=stored", int(last), 204), ("?until=stored", int(last) - 1, 200)):
        response = await service.client.get(address + query, headers={"Last-Event-ID": str(after)})
        assert response.status_code == status
    assert (await service.client.get(f"{address}?until=yesterday")).status_code == 422


async def test_metrics_count_files_bytes_and_failures(service: Service, provider: FileProvider) -> None:
    answers = iter([Response(status_code=500), Response(PNG)])
    provider.pages |= {"late.png": lambda request: next(answers), "bad.png": lambda request: Response(status_code=404)}
    await stored(service, provider.task("0.png", "late.png", "bad.png"))
    written = (await service.admin.get("/metrics")).text.splitlines()
    for line in (
        'callbridge_copies_total{result="stored"} 2.0',
        'callbridge_copies_total{result="retried"} 1.0',
        'callbridge_copies_total{result="failed"} 1.0',
        f"callbridge_copied_bytes_total {2.0 * len(PNG)}",
        "callbridge_copies_pending 0.0",
        "callbridge_copy_oldest_pending_seconds 0.0",
    ):
        assert line in written, line


# --- serving ---


async def a_copy(service: Service, provider: FileProvider, name: str = "0.png") -> str:
    (file,) = await stored(service, provider.task(name))
    assert file["copy"]["status"] == "stored"
    return str(file["copy"]["url"])


async def test_a_copy_is_served_with_what_keeps_it_harmless(service: Service, provider: FileProvider) -> None:
    response = await service.anybody.get(await a_copy(service, provider))
    assert response.status_code == 200
    assert {name: response.headers[name] for name in ("content-type", "x-content-type-options", "accept-ranges")} == {
        "content-type": "image/png",
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
    }
    assert response.headers["etag"] == f'"{hashlib.sha256(PNG).hexdigest()}"'
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers["content-disposition"].startswith("inline")
    assert "max-age" in response.headers["cache-control"]


async def test_svg_is_a_download(service: Service, provider: FileProvider) -> None:
    provider.pages["0.svg"] = lambda request: Response(SVG)
    response = await service.anybody.get(await a_copy(service, provider, "0.svg"))
    assert response.headers["content-type"] == "image/svg+xml"
    assert response.headers["content-disposition"] == 'attachment; filename="0.svg"'


SIZE = len(PNG)
RANGES = [
    ("bytes=0-9", 206, PNG[:10], f"bytes 0-9/{SIZE}"),
    ("bytes=10-", 206, PNG[10:], f"bytes 10-{SIZE - 1}/{SIZE}"),
    ("bytes=-7", 206, PNG[-7:], f"bytes {SIZE - 7}-{SIZE - 1}/{SIZE}"),
    ("bytes=5-999999999", 206, PNG[5:], f"bytes 5-{SIZE - 1}/{SIZE}"),
    (f"bytes=-{SIZE * 2}", 206, PNG, f"bytes 0-{SIZE - 1}/{SIZE}"),
    (f"bytes={SIZE}-", 416, b"", f"bytes */{SIZE}"),
    ("bytes=-0", 416, b"", f"bytes */{SIZE}"),
    ("bytes=9-5", 200, PNG, None),
    ("bytes=0-1,4-5", 200, PNG, None),
    ("lines=0-9", 200, PNG, None),
    ("bytes=x", 200, PNG, None),
]


async def test_ranges_are_served(service: Service, provider: FileProvider) -> None:
    url = await a_copy(service, provider)
    for wanted, status, body, content_range in RANGES:
        response = await service.anybody.get(url, headers={"Range": wanted})
        assert (response.status_code, response.content) == (status, body), wanted
        assert response.headers.get("content-range") == content_range, wanted
    head = await service.anybody.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(SIZE), b"")


async def test_what_the_reader_has_already_is_not_sent_again(service: Service, provider: FileProvider) -> None:
    url = await a_copy(service, provider)
    etag = (await service.anybody.head(url)).headers["etag"]
    assert (await service.anybody.get(url, headers={"If-None-Match": etag})).status_code == 304
    changed = {"If-Range": '"other"', "Range": "bytes=0-9"}
    assert (await service.anybody.get(url, headers=changed)).content == PNG


@pytest.mark.parametrize("change", ["signature", "position", "name"])
async def test_a_forged_address_opens_nothing(service: Service, provider: FileProvider, change: str) -> None:
    head, token, name = (await a_copy(service, provider)).rsplit("/", 2)
    forged = {
        "signature": f"{head}/{token[:-2]}AA/{name}",
        "position": f"{head}/{token.replace('.0.', '.1.')}/{name}",
        "name": f"{head}/{token}/evil.html",
    }[change]
    assert (await service.anybody.get(forged)).status_code == 404


async def test_an_address_outlives_a_new_secret_key(env: dict[str, str], provider: FileProvider) -> None:
    async with running(env) as service:
        url = await a_copy(service, provider)
    async with running(env | {"SECRET_KEY": "another-secret-key-of-this-test-with-32-characters"}) as service:
        assert (await service.anybody.get(url)).content == PNG


# --- trouble ---


async def test_a_store_that_is_away_uses_up_no_attempt(
    env: dict[str, str], provider: FileProvider, tmp_path: Path
) -> None:
    (tmp_path / "results").write_text("in the way of the folder")
    async with running(env | {"COPY_RETRY_SCHEDULE": "0"}) as service:
        first = await service.finished(provider.task("0.png"))
        second = await service.finished(provider.task("1.png"))
        while "0.png" not in provider.requested:
            await asyncio.sleep(0.05)
        (tmp_path / "results").unlink()
        for task in (first, second):
            event = await service.event(task["id"], "task.stored")
            assert event["data"]["output"]["files"][0]["copy"]["status"] == "stored"


class Stuck(Response):
    """Its file never comes; `asked` says that somebody wants it."""

    def __init__(self, asked: asyncio.Event) -> None:
        super().__init__()
        self.asked = asked

    async def __call__(self, *args: Any) -> None:
        self.asked.set()
        await asyncio.Event().wait()


async def test_files_of_one_owner_do_not_hold_up_those_of_another(env: dict[str, str], provider: FileProvider) -> None:
    names = [f"{n}.png" for n in range(30)]
    asked = asyncio.Event()
    provider.pages.update(dict.fromkeys(names, lambda request: Stuck(asked)))
    async with running(env) as service:
        await service.submit(provider.task(*names))
        await asked.wait()
        task = (await service.bob.post("/v1/tasks", json=provider.task("bobs.png"))).json()
        async with asyncio.timeout(PATIENCE):
            while not (found := (await service.bob.get("/v1/events?types=task.stored")).json()["data"]):
                await asyncio.sleep(0.05)
        assert [event["data"]["id"] for event in found] == [task["id"]]
        assert 1 <= len(set(provider.requested) & set(names)) <= 4, "as many as are free beside them"


async def test_a_stop_in_the_middle_of_a_copy_loses_nothing(
    env: dict[str, str], provider: FileProvider, tmp_path: Path
) -> None:
    asked = asyncio.Event()
    provider.pages["0.png"] = lambda request: Stuck(asked)
    async with running(env) as service:
        task = await service.submit(provider.task("0.png"))
        await asked.wait()
    del provider.pages["0.png"]
    async with running(env) as service:
        await service.event(task["id"], "task.stored")
        events = (await service.client.get(f"/v1/events?task_id={task['id']}&types=task.stored")).json()["data"]
    assert len(events) == 1
    assert len(kept(tmp_path)) == 1


async def test_copies_are_removed_with_their_task_when_the_store_is_back(
    env: dict[str, str], provider: FileProvider, tmp_path: Path
) -> None:
    results, away = tmp_path / "results", tmp_path / "away"
    async with running(env) as service:
        task = await service.submit(provider.task("0.png"))
        await service.event(task["id"], "task.stored")
        results.rename(away)
    async with running(env | {"RETENTION_DAYS": "0.00001"}) as service:
        while (await service.client.get(f"/v1/tasks/{task['id']}")).status_code != 404:
            await asyncio.sleep(0.05)
        assert service.bridge.copying is not None
        with pytest.raises(StorageUnavailable):
            await service.bridge.copying.remover.step()
        away.rename(results)
        while list(results.iterdir()):
            await asyncio.sleep(0.05)


# --- a bucket ---


@pytest.fixture(scope="module")
def s3() -> Any:
    with s3_server() as one:
        yield one


async def test_a_bucket_keeps_copies_too(env: dict[str, str], provider: FileProvider, s3: S3) -> None:
    bucket = s3.make_bucket()
    async with running(env | {"RESULTS_URL": f"s3://{bucket}/some/prefix"}) as service:
        task = await service.submit(provider.task("0.png"))
        event = await service.event(task["id"], "task.stored")
        url = event["data"]["output"]["files"][0]["copy"]["url"]
        day = task["created_at"][:10].replace("-", "/")
        assert s3.names(bucket) == [f"some/prefix/{day}/{task['id']}/0.png"]
        response = await service.anybody.get(url, headers={"Range": "bytes=3-6"}, follow_redirects=True)
        assert (response.status_code, response.content) == (206, PNG[3:7])


async def test_a_reader_is_sent_to_the_store_where_that_has_tls(
    env: dict[str, str], provider: FileProvider, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(env | {"RESULTS_URL": f"s3://{s3.make_bucket()}"}) as service:
        url = await a_copy(service, provider)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://storage.example.com")
    async with running(env | {"RESULTS_URL": "s3://results"}) as service:
        response = await service.anybody.get(url)
    assert response.status_code == 307
    assert httpx.URL(response.headers["location"]).host == "storage.example.com"
    assert response.headers["cache-control"] == "no-store"


async def test_a_bucket_that_comes_up_late_gets_everything(env: dict[str, str], provider: FileProvider, s3: S3) -> None:
    s3.stop()
    try:
        async with running(env | {"RESULTS_URL": "s3://late-bucket", "COPY_RETRY_SCHEDULE": "0"}) as service:
            task = await service.finished(provider.task("0.png"))
            while not provider.requested:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(s3.start)
            (await service.anybody.put(f"{s3.url}/late-bucket")).raise_for_status()
            event = await service.event(task["id"], "task.stored")
            assert event["data"]["output"]["files"][0]["copy"]["status"] == "stored"
    finally:
        if s3.stopped:
            s3.start()


# --- what an earlier configuration left ---


async def archive(env: dict[str, str], *options: str) -> tuple[int | None, str]:
    """The command's exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "archive", *options),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env},
        cwd=env["MEDIA_DIR"].removesuffix("/media"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    written, _ = await process.communicate()
    return process.returncode, written.decode()


@pytest.mark.sqlite
async def test_archive_copies_what_completed_before(env: dict[str, str], provider: FileProvider) -> None:
    results_url = env.pop("RESULTS_URL")
    provider.pages["bad.png"] = lambda request: Response(status_code=404)
    async with running(env) as service:
        tasks = [await service.finished(provider.task(*names)) for names in (("0.png", "1.png"), ("bad.png",))]
        assert await archive(env | {"RESULTS_URL": results_url}, "--since", "2026-01-01") == (1, IN_USE)
    code, written = await archive(env | {"RESULTS_URL": results_url}, "--since", "2026-01-01")
    assert (code, written.splitlines()[-1]) == (0, "2 stored, 1 failed")
    async with running(env | {"RESULTS_URL": results_url}) as service:
        for task in tasks:
            found = (await service.client.get("/v1/events", params={"task_id": task["id"]})).json()["data"]
            assert [event["type"] for event in found].count("task.stored") == 1
        copy = found[-1]["data"]["output"]["files"][0]["copy"]
        assert (copy["status"], copy["error"]) == ("failed", FAILING["gone"][1])
    code, written = await archive(env | {"RESULTS_URL": results_url}, "--since", "2026-01-01")
    assert (code, written.splitlines()[-1]) == (0, "0 stored, 0 failed")


IN_USE = (
    "Error: another Callbridge process uses test.db: stop it first; a running service copies new results by itself\n"
)


async def test_archive_runs_beside_the_service_on_postgresql(provider: FileProvider, tmp_path: Path) -> None:
    env = environment(provider.url, tmp_path, free_port()) | {"DATABASE_URL": fresh_database()}
    async with running(env) as service:
        task = await service.finished(provider.task("0.png", "1.png"))
        code, written = await archive(env | {"RESULTS_URL": f"file://{tmp_path / 'results'}"}, "--since", "2026-01-01")
        assert (code, written.splitlines()[-1]) == (0, "2 stored, 0 failed")
        await service.event(task["id"], "task.stored")


async def test_archive_leaves_what_is_older(env: dict[str, str], provider: FileProvider) -> None:
    results_url = env.pop("RESULTS_URL")
    async with running(env) as service:
        await service.finished(provider.task("0.png"))
    code, written = await archive(env | {"RESULTS_URL": results_url}, "--since", "2999-01-01")
    assert (code, written.splitlines()[-1]) == (0, "0 stored, 0 failed")


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("changes", "since", "sentence"),
    [
        ({"RESULTS_URL": ""}, "2026-01-01", "RESULTS_URL: is not set"),
        ({"RESULTS_URL": "file:///dev/null/results"}, "2026-01-01", "cannot be used: Not a directory"),
        ({}, "yesterday", "must be a time such as 2026-01-31"),
    ],
)
async def test_archive_says_what_it_needs(
    env: dict[str, str], changes: dict[str, str], since: str, sentence: str
) -> None:
    code, written = await archive(env | changes, "--since", since)
    assert code != 0
    assert sentence in written
    assert "Traceback" not in written


# --- pictures that came inline ---


async def test_a_picture_that_came_inline_is_copied_and_not_kept_twice(
    env: dict[str, str], sandbox: str, tmp_path: Path
) -> None:
    async with running(env | {"PIAPI_BASE_URL": sandbox}) as service:
        first, second = [await service.submit(txt2img("output=base64")) for _ in range(2)]
        for task in (first, second):
            event = await service.event(task["id"], "task.stored")
            (file,) = event["data"]["output"]["files"]
            assert file["copy"]["status"] == "stored"
            for url in (file["url"], file["copy"]["url"]):
                picture = await service.anybody.get(url)
                assert hashlib.sha256(picture.content).hexdigest() == file["copy"]["sha256"]
                assert picture.headers["content-type"] == "image/png"
    assert list((tmp_path / "media").glob("*")) == []
    assert len(kept(tmp_path)) == 2


@pytest.mark.sqlite
async def test_a_picture_that_is_only_left_in_another_copy_is_copied_from_there(
    env: dict[str, str], sandbox: str, tmp_path: Path
) -> None:
    env |= {"PIAPI_BASE_URL": sandbox}
    async with running(env) as service:
        first = await service.submit(txt2img("output=base64"))
        await service.event(first["id"], "task.stored")
    async with running(env | {"RESULTS_URL": ""}) as service:
        await service.finished(txt2img("output=base64"))
    for picture in (tmp_path / "media").iterdir():
        picture.unlink()
    code, written = await archive(env, "--since", "2026-01-01")
    assert (code, written.splitlines()[-1]) == (0, "1 stored, 0 failed")
