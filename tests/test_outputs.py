"""Addresses are found whatever the fields are called, and the best comes first."""

import base64
from typing import Any

import pytest

from service.core.times import to_iso
from service.providers import outputs, pictures
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


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "png"),
        (b"\xff\xd8\xff\xe0....", "jpg"),
        (b"RIFF\0\0\0\0WEBP....", "webp"),
        (b"GIF89a....", "gif"),
    ],
)
def test_a_picture_is_known_by_its_first_bytes(data: bytes, kind: str) -> None:
    text = base64.b64encode(data).decode()
    assert pictures.decode(text) == (data, kind)
    assert pictures.decode(f"data:image/{kind};base64,{text}") == (data, kind)
    assert pictures.decode(text.rstrip("=")) == (data, kind)


@pytest.mark.parametrize("text", ["", "hello", "iVBORw0KGg", "iVBORw0KGgo!!!!", "R0lGODxx", "UklGRgAAAABXQVZF"])
def test_what_is_no_picture_is_not_decoded(text: str) -> None:
    assert pictures.decode(text) is None


def test_a_picture_over_the_limit_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_BYTES", 10)
    assert pictures.decode(base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 20).decode()) is None


def test_nothing_kept_is_huge_or_nested_beyond_reason() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = [deep]
    cleaned = Cleaner().tree({"deep": deep, "long": "x" * (MAX_STRING + 1), "nul": "a\0b"})
    assert cleaned["nul"] == "ab"
    assert cleaned["long"] == f"[{MAX_STRING + 1} characters left out]"
    assert "nested too deeply" in str(cleaned["deep"])
