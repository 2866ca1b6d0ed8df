"""Where copies are kept: a folder and a bucket keep the same promises."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.files.object_store import SMALLEST_PART, ObjectStore
from service.files.result_folder import ResultFolder
from service.files.results import open_results
from service.ports.copies import CopyMissing, CopyStorage, StorageUnavailable
from tests.buckets import S3, s3_server

NAME = "2026/01/31/tsk_1/0.png"
SMALL = b"small" * 1000
LARGE = bytes(range(256)) * (12 * 4096)
MAX_BYTES = 1 << 30


class SourceFailed(Exception):
    pass


@dataclass
class Kept:
    """A store and what is in it."""

    store: CopyStorage
    names: Callable[[], list[str]]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as one:
        yield one


@pytest.fixture(params=["folder", "bucket"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "folder":
        root = tmp_path / "results"
        store = open_results(f"file://{root}", MAX_BYTES)
        return Kept(store, lambda: sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    s3: S3 = request.getfixturevalue("s3")
    bucket = s3.make_bucket()
    store = open_results(f"s3://{bucket}/some/prefix", MAX_BYTES)
    return Kept(store, lambda: [name.replace("some/prefix/", "") for name in s3.names(bucket)])


def files(kept: Kept) -> list[str]:
    return [name for name in kept.names() if "." in name]


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def failing(data: bytes) -> AsyncIterator[bytes]:
    async for piece in pieces(data):
        yield piece
    raise SourceFailed


async def read(store: CopyStorage, name: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in await store.read(name, start, end)])


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_what_was_put_is_read_back_in_any_range(kept: Kept, data: bytes) -> None:
    await kept.store.put(NAME, pieces(data), "image/png", download=False)
    assert files(kept) == [NAME]
    size = len(data)
    for start, end in [(0, size), (0, 1), (size - 1, size), (17, min(size, 700_000))]:
        assert await read(kept.store, NAME, start, end) == data[start:end]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_source_that_fails_leaves_nothing(kept: Kept, data: bytes) -> None:
    with pytest.raises(SourceFailed):
        await kept.store.put(NAME, failing(data), "image/png", download=False)
    assert files(kept) == []


async def test_a_put_that_is_cancelled_leaves_nothing(kept: Kept) -> None:
    fed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        size = 0
        while True:
            yield bytes(1 << 20)
            size += 1 << 20
            if size > 2 * SMALLEST_PART:
                fed.set()
            await asyncio.sleep(0.01)

    putting = asyncio.ensure_future(kept.store.put(NAME, endless(), "image/png", download=False))
    await fed.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert files(kept) == []


async def test_a_second_put_replaces_the_first(kept: Kept) -> None:
    await kept.store.put(NAME, pieces(LARGE), "image/png", download=False)
    await kept.store.put(NAME, pieces(SMALL), "image/png", download=False)
    assert await read(kept.store, NAME, 0, len(SMALL)) == SMALL


async def test_a_folder_is_deleted_with_all_that_is_in_it(kept: Kept) -> None:
    other = "2026/01/31/tsk_10/0.png"
    for name in (NAME, "2026/01/31/tsk_1/1.png", other):
        await kept.store.put(name, pieces(SMALL), "image/png", download=False)
    await kept.store.delete("2026/01/31/tsk_1")
    await kept.store.delete("2026/01/31/tsk_1")
    assert files(kept) == [other]
    with pytest.raises(CopyMissing):
        await kept.store.read(NAME, 0, 1)


async def test_deleting_the_last_task_leaves_no_folders(kept: Kept) -> None:
    await kept.store.put(NAME, pieces(SMALL), "image/png", download=False)
    await kept.store.delete("2026/01/31/tsk_1")
    assert kept.names() == []


async def test_a_probe_leaves_nothing_behind(kept: Kept) -> None:
    await kept.store.probe()
    assert kept.names() == []


async def test_what_a_killed_process_left_half_goes_with_the_task(tmp_path: Path) -> None:
    root = tmp_path / "results"
    store = ResultFolder(str(root))
    await store.put(NAME, pieces(SMALL), "image/png", download=False)
    (root / NAME).with_name(".1.png.0a1b2c3d.part").write_bytes(b"half")
    await store.delete("2026/01/31/tsk_1")
    assert list(root.iterdir()) == []


async def test_a_folder_that_vanishes_is_not_made_again(tmp_path: Path) -> None:
    root = tmp_path / "volume" / "results"
    store = ResultFolder(str(root))
    await store.put(NAME, pieces(SMALL), "image/png", download=False)
    (tmp_path / "volume").rename(tmp_path / "away")
    for attempt in (store.put(NAME, pieces(SMALL), "image/png", download=False), store.probe(), store.delete("2026")):
        with pytest.raises(
            StorageUnavailable, match="The folder of RESULTS_URL cannot be used: No such file or directory"
        ):
            await attempt
    with pytest.raises(StorageUnavailable, match="is not there"):
        await store.read(NAME, 0, 1)
    (tmp_path / "away").rename(tmp_path / "volume")
    assert await read(store, NAME, 0, len(SMALL)) == SMALL


async def test_nothing_is_taken_for_deleted_where_the_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="No such file or directory"):
        await ResultFolder(str(tmp_path / "results")).delete("2026/01/31/tsk_1")


async def test_a_full_disk_is_trouble_of_the_store() -> None:
    store = ResultFolder("/dev/full/results")
    with pytest.raises(StorageUnavailable, match="The folder of RESULTS_URL cannot be used: Not a directory"):
        await store.put(NAME, pieces(SMALL), "image/png", download=False)


async def test_a_bucket_that_cannot_be_reached_is_trouble_of_the_store(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    store = open_results("s3://nowhere", MAX_BYTES)
    for data in (SMALL, LARGE):
        with pytest.raises(StorageUnavailable, match="it cannot be reached"):
            await store.put(NAME, pieces(data), "image/png", download=False)


async def test_a_bucket_that_does_not_exist_is_trouble_of_the_store(s3: S3) -> None:
    store = open_results("s3://does-not-exist", MAX_BYTES)
    with pytest.raises(StorageUnavailable, match="does not exist"):
        await store.probe()


async def test_a_link_opens_one_file_at_the_store_for_a_while(s3: S3) -> None:
    store = ObjectStore(f"s3://{s3.make_bucket()}/p", MAX_BYTES, links=True, allow_http=True)
    await store.put(NAME, pieces(LARGE), "image/svg+xml", download=True)
    link = await store.link("GET", NAME, 60)
    assert link is not None
    assert "X-Amz-Expires=60" in link
    async with httpx.AsyncClient() as reader:
        part = await reader.get(link, headers={"Range": "bytes=5-9"})
        head = await reader.head(await store.link("HEAD", NAME, 60) or "")
    assert (part.status_code, part.content) == (206, LARGE[5:10])
    assert head.headers["content-length"] == str(len(LARGE))
    assert head.headers["content-type"] == "image/svg+xml"
    assert head.headers["content-disposition"] == "attachment"


async def test_a_store_without_tls_gives_no_links(s3: S3) -> None:
    store = open_results(f"s3://{s3.make_bucket()}/p", MAX_BYTES)
    assert await store.link("GET", NAME, 60) is None
