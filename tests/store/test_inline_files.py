"""Files that come inline: in the store where it keeps them, else in a folder."""

from pathlib import Path

import pytest

from service.files.folder import MediaFolder
from service.ports.files import InlineFiles
from service.ports.store import Store

LARGE = bytes(range(256)) * 4096


@pytest.fixture
def files(store: Store, tmp_path: Path) -> InlineFiles:
    return store.inline_files or MediaFolder(str(tmp_path / "media"))


async def content(files: InlineFiles, name: str) -> bytes | None:
    found = await files.find(name)
    if found is None:
        return None
    if isinstance(found, Path):
        return found.read_bytes()
    pieces = [piece async for piece in found.read()]
    assert found.size == sum(map(len, pieces))
    assert max(map(len, pieces), default=0) <= 256 * 1024
    return b"".join(pieces)


@pytest.mark.parametrize("data", [b"x", LARGE, LARGE + b"x"], ids=["small", "large", "odd"])
async def test_a_file_comes_back_as_it_was_saved_and_is_kept_once(files: InlineFiles, data: bytes) -> None:
    name = await files.save(data, "png")
    assert await files.save(data, "png") == name
    assert name.endswith(".png")
    assert await content(files, name) == data


async def test_a_removed_file_is_gone(files: InlineFiles) -> None:
    name = await files.save(b"x", "png")
    await files.remove(name)
    await files.remove(name)
    assert await content(files, name) is None


async def test_only_what_was_not_saved_again_for_so_long_is_removed(files: InlineFiles) -> None:
    names = [await files.save(bytes([n]), "png") for n in range(25)]
    await files.remove_older(60)
    assert [await content(files, name) for name in names] == [bytes([n]) for n in range(25)]
    await files.remove_older(-1)
    assert [await content(files, name) for name in names] == [None] * 25
