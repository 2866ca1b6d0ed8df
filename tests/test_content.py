"""What a file is, by its first bytes."""

import time
from base64 import b64encode

import pytest

from service.core.content import Content, WrongContent, is_playable, judge, recognise

FORMATS = {
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "image/gif": b"GIF89a\x01\0",
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 ",
    "image/avif": b"\0\0\0\x20ftypavif\0\0\0\0",
    "image/heic": b"\0\0\0\x20ftypheic\0\0\0\0",
    "image/svg+xml": b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="http://www.w3.org/2000/svg">',
    "video/mp4": b"\0\0\0\x20ftypisom\0\0\x02\0",
    "video/quicktime": b"\0\0\0\x14ftypqt  \0\0\0\0",
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x84webm",
    "video/x-matroska": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\x82\x88matroska",
    "audio/mpeg": b"ID3\x04\0\0\0\0",
    "audio/wav": b"RIFF\x24\0\0\0WAVEfmt ",
    "audio/flac": b"fLaC\0\0\0\x22",
    "audio/ogg": b"OggS\0\x02",
    "audio/mp4": b"\0\0\0\x20ftypM4A \0\0\0\0",
    "audio/aac": b"\xff\xf1\x50\x80",
    "model/gltf-binary": b"glTF\x02\0\0\0",
    "application/zip": b"PK\x03\x04\x14\0",
    "text/html": b"\n <!DOCTYPE html><html><title>Deleted</title>",
}
PAGE = FORMATS["text/html"]
MESSAGE = b'{"error": "the file was deleted"}'


@pytest.mark.parametrize("media_type", FORMATS)
def test_a_format_is_recognised_by_its_first_bytes(media_type: str) -> None:
    found = recognise(FORMATS[media_type])
    assert found is not None
    assert found.media_type == media_type


def test_mpeg_audio_is_recognised_without_tags() -> None:
    assert recognise(b"\xff\xfb\x90\x64") == Content("audio/mpeg", "mp3")


@pytest.mark.parametrize("head", [b"RIFX\0\0\0\0WEBP", b"plain text", b"", b"\0" * 64, b"not a <svg> yet"])
def test_what_only_looks_like_a_format_is_unknown(head: bytes) -> None:
    assert recognise(head) is None


@pytest.mark.parametrize(
    ("kind", "head", "sentence"),
    [
        ("image", PAGE, "The response is an HTML page, not an image file."),
        ("image", MESSAGE, "The response is text, not an image file."),
        ("image", FORMATS["video/mp4"], "The response is video/mp4, not an image file."),
        ("image", b"\0\x01\x02\x03" * 9, "The response is of an unknown format, not an image file."),
        ("image", b"", "The file is empty."),
        ("video", PAGE, "The response is an HTML page, not a video file."),
        ("video", FORMATS["image/jpeg"], "The response is image/jpeg, not a video file."),
        ("audio", FORMATS["image/png"], "The response is image/png, not an audio file."),
        ("model", PAGE, "The response is an HTML page, not a model file."),
        ("model", MESSAGE, "The response is text, not a model file."),
        ("other", b"", "The file is empty."),
    ],
)
def test_what_cannot_be_a_file_of_its_kind_is_refused(kind: str, head: bytes, sentence: str) -> None:
    with pytest.raises(WrongContent) as refused:
        judge(kind, head, "/a/0.png")
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("kind", "head", "path", "expected"),
    [
        ("image", FORMATS["image/png"], "/a/0.jpg", Content("image/png", "png")),
        ("image", FORMATS["image/svg+xml"], "/a/0.svg", Content("image/svg+xml", "svg")),
        ("video", FORMATS["image/gif"], "/a/0.gif", Content("image/gif", "gif")),
        ("audio", FORMATS["video/mp4"], "/a/song", Content("audio/mp4", "m4a")),
        ("model", FORMATS["application/zip"], "/a/chair.usdz", Content("application/zip", "usdz")),
        ("model", b"v 0.1 0.2 0.3\nv 1 2 3\n", "/a/chair.obj", Content("application/octet-stream", "obj")),
        ("image", b64encode(FORMATS["image/png"] * 99), "/a/0.base64", Content("text/plain", "base64")),
        ("image", b"data:image/png;base64," + b64encode(FORMATS["image/png"]), "/a/0", Content("text/plain", "txt")),
        ("other", PAGE, "/a/page.html", Content("application/octet-stream", "html")),
        ("other", b"\0\x01", "/a/no-ending", Content("application/octet-stream", "bin")),
        ("other", b"\0\x01", "/a/0.%2e%2e", Content("application/octet-stream", "bin")),
    ],
)
def test_a_file_is_named_by_what_it_is(kind: str, head: bytes, path: str, expected: Content) -> None:
    assert judge(kind, head, path) == expected


@pytest.mark.parametrize(
    ("media_type", "playable"),
    [("image/png", True), ("video/mp4", True), ("audio/mpeg", True), ("image/svg+xml", False), ("text/html", False)],
)
def test_a_browser_may_show_pictures_films_and_sound(media_type: str, playable: bool) -> None:
    assert is_playable(media_type) is playable


@pytest.mark.parametrize(
    "head", [b"<!-- -->" * 8_000, b"<!--" * 16_000, b" " * 64_000, b"<?xml " * 10_000, b"<?xml>" * 10_000], ids=range(5)
)
def test_hostile_markup_is_judged_in_linear_time(head: bytes) -> None:
    started = time.process_time()
    assert recognise(head) is None
    assert recognise(b"<!-- a --> <?xml version='1.0'?> <!-- b --> <svg/>") is not None
    assert time.process_time() - started < 1
