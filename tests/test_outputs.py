"""Addresses are found whatever the fields are called, and the best comes first."""

import base64
from typing import Any

import pytest

from service.core.inline import InlineFile
from service.core.times import to_iso
from service.providers import inline, outputs
from service.providers.redact import MAX_STRING, Cleaner

X = "https://x.example/"


def urls(output: Any) -> list[str]:
    return [found.url.removeprefix(X) for found in outputs.addresses(output)]


@pytest.mark.parametrize(
    ("model", "output", "first"),
    [
        ("flux", {"image_base64": "", "image_url": X + "a.png", "image_urls": [X + "b.png", X + "c.png"]}, "b.png"),
        ("midjourney", {"discord_image_url": X + "d.png", "image_url": X + "a.png", "image_urls": None}, "a.png"),
        (
            "kling",
            {"works": [{"video": {"resource": X + "v.mp4", "resource_without_watermark": X + "w.mp4"}}]},
            "w.mp4",
        ),
        ("kling", {"cover": X + "c.png", "video_url": X + "v"}, "v"),
        ("kling try-on", {"works": [{"image": {"resource": X + "1", "resource_without_watermark": X + "2"}}]}, "2"),
        ("omni", {"video": X + "v"}, "v"),
        ("hailuo", {"cover_url": X + "c.jpg", "download_url": X + "d.mp4", "video_url": X + "v.mp4"}, "v.mp4"),
        ("luma", {"last_frame": {"url": X + "l"}, "thumbnail": X + "t.jpg", "video": {"url": X + "v"}}, "v"),
        ("older luma", {"generation": {"state": "completed", "video": {"url": X + "v.mp4"}}}, "v.mp4"),
        ("tts", {"audio_url": X + "a"}, "a"),
        ("music-s", {"clips": {"id-1": {"image_url": X + "i.png", "audio_url": X + "a.mp3"}}}, "a.mp3"),
        (
            "trellis",
            {"combined_video": X + "c.mp4", "model_file": X + "m.glb", "no_background_image": X + "n.png"},
            "m.glb",
        ),
    ],
)
def test_the_best_address_comes_first(model: str, output: dict[str, Any], first: str) -> None:
    assert urls(output)[0] == first


def test_covers_frames_and_previews_come_last_but_are_kept() -> None:
    output = {"cover_url": X + "c.png", "preview": X + "p.png", "video_url": X + "v.mp4", "last_frame": X + "l.png"}
    assert urls(output) == ["v.mp4", "c.png", "p.png", "l.png"]


def test_the_same_address_is_listed_once_at_its_best_place() -> None:
    assert urls({"image_url": X + "a.png", "image_urls": [X + "a.png", X + "b.png"]}) == ["a.png", "b.png"]


def test_the_number_of_files_is_bounded() -> None:
    assert len(urls([f"{X}{number}.png" for number in range(2000)])) == outputs.MAX_FILES


def test_paths_and_kinds_are_told() -> None:
    found = outputs.addresses({"image_urls": [X + "a"], "audio_url": X + "b", "model_file": X + "c", "z": X + "d"})
    assert [(item.path, item.kind) for item in found] == [
        ("model_file", "model"),
        ("audio_url", "audio"),
        ("image_urls.0", "image"),
        ("z", "other"),
    ]
    assert outputs.addresses([X + "a"], otherwise="image")[0].kind == "image"


@pytest.mark.parametrize("value", ["ftp://x.example", "https://", "https://a b", "javascript:1", "", "http://[", 5])
def test_what_is_no_address_is_not_listed(value: Any) -> None:
    assert urls({"image_url": value}) == []


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"text": "a caption"}, "a caption"),
        ({"lyrics_pairs": [{"title": "t", "text": "la la"}]}, "la la"),
        ({"description": "1. a cat", "image_url": ""}, "1. a cat"),
        ({"text": X + "a.png"}, None),
        ({"text": " "}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_text_is_found_where_there_is_one(output: Any, text: str | None) -> None:
    assert outputs.text_of(output) == text


def test_output_has_the_shape_of_the_contract() -> None:
    made = outputs.output(outputs.addresses({"image_urls": [X + "a.png"]}), None, {"r": 1})
    made = made.expiring(to_iso(1_700_000_000_000))
    file = {
        "url": X + "a.png",
        "kind": "image",
        "path": "image_urls.0",
        "expires_at": "2023-11-14T22:13:20.000Z",
        "copy": None,
    }
    assert made.document() == {
        "url": X + "a.png",
        "urls": [X + "a.png"],
        "text": None,
        "files": [file],
        "raw": {"r": 1},
    }


FILES = [
    (b"\x89PNG\r\n\x1a\n....", "png"),
    (b"\xff\xd8\xff\xe0........", "jpg"),
    (b"RIFF\0\0\0\0WEBP....", "webp"),
    (b"GIF89a....", "gif"),
    (b"\0\0\0\x20ftypavif....", "avif"),
    (b"\0\0\0\x20ftypisom....", "mp4"),
    (b"\0\0\0\x20ftypqt  ....", "mov"),
    (b"\x1aE\xdf\xa3\x9fB\x82\x84webm", "webm"),
    (b"ID3\4........", "mp3"),
    (b"\xff\xfb\x90\x64........", "mp3"),
    (b"RIFF\0\0\0\0WAVE....", "wav"),
    (b"OggS........", "ogg"),
    (b"fLaC........", "flac"),
    (b"glTF........", "glb"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg"),
    (b"<?xml version='1.0'?><svg/>", "svg"),
]
MEDIA_TYPES = {"jpg": "image/jpeg", "svg": "image/svg+xml", "mp3": "audio/mpeg", "glb": "model/gltf-binary"}


@pytest.mark.parametrize(("data", "extension"), FILES)
def test_a_file_that_came_inline_is_known_by_its_first_bytes(data: bytes, extension: str) -> None:
    text = base64.b64encode(data).decode()
    kind = MEDIA_TYPES.get(extension, f"video/{extension}")
    for form in (
        text,
        text.rstrip("="),
        "\r\n".join(text[at : at + 12] for at in range(0, len(text), 12)) + "\n",
        f" \n{text}",
        base64.urlsafe_b64encode(data).decode(),
        f"data:{kind};base64,{text}",
        f"DATA:{kind};charset=utf-8;BASE64,{text}",
    ):
        file = inline.inline(form)
        assert file is not None, form
        assert (file.data, file.extension) == (data, extension)


def test_a_picture_in_a_data_address_may_be_percent_encoded() -> None:
    file = inline.inline("data:image/svg+xml;utf8,%3Csvg%20width=%221%22/%3E")
    assert file is not None
    assert (file.data, file.extension) == (b'<svg width="1"/>', "svg")


def test_data_addresses_are_found_inside_longer_texts() -> None:
    address = f"data:image/png;base64,{base64.b64encode(FILES[0][0]).decode()}"
    files: list[InlineFile] = []
    text = inline.lifted(f"![a]({address}) and <img src='{address}'> data:x", files)
    assert text == f"![a]({files[0].placeholder}) and <img src='{files[0].placeholder}'> data:x"


@pytest.mark.parametrize(
    "text",
    [
        *("", "hello", "iVBORw0KGg", "iVBORw0KGgo!!!!", "R0lGODxx", "UklGRgAAAABXQVZF!", "data:text/html;base64,PGI+"),
        *("//uQhost.example/a.png", "AAAAAAAAAAAAAAAAAAAAAAAA", "data:image/png;base64,", "data:image/png"),
    ],
)
def test_what_is_no_file_is_not_decoded(text: str) -> None:
    assert inline.inline(text) is None


def test_a_file_over_the_limit_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "MAX_BYTES", 10)
    assert inline.inline(base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 20).decode()) is None


def test_nothing_kept_is_huge_or_nested_beyond_reason() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = [deep]
    cleaned = Cleaner().tree({"deep": deep, "long": "x" * (MAX_STRING + 1), "nul": "a\0b"})
    assert cleaned["nul"] == "ab"
    assert cleaned["long"] == f"[{MAX_STRING + 1} characters left out]"
    assert "nested too deeply" in str(cleaned["deep"])
