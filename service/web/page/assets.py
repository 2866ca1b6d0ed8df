"""The files of `static/`, named by a hash of their content so that browsers may cache them forever."""

import gzip
import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import NotFound

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "cache-control": "public, max-age=31536000, immutable",
    "x-content-type-options": "nosniff",
    "vary": "accept-encoding",
}
IMPORTED = re.compile(r'(?<=from ")\./([\w-]+\.js)(?=";)')


@cache
def asset(name: str) -> str:
    """The address of a file of `static/`, such as `/static/page.1f0c….css`."""
    stem, _, suffix = name.rpartition(".")
    return f"/static/{stem}.{hashlib.sha256(_content(name)).hexdigest()[:12]}.{suffix}"


@cache
def _content(name: str) -> bytes:
    """Modules import each other by the hashed name: a changed one changes its importers' names too."""
    text = _files()[name].read_text()
    if name.endswith(".js"):
        text = IMPORTED.sub(lambda found: asset(found[1]), text)
    return text.encode()


@cache
def _by_address() -> dict[str, str]:
    return {asset(name): name for name in _files()}


@cache
def _files() -> dict[str, Path]:
    """By name: our own, and third-party ones in `vendor/`."""
    return {path.name: path for path in FOLDER.rglob("*") if path.suffix in TYPES}


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress(_content(name), mtime=0)


async def serve_asset(request: Request) -> Response:
    name = _by_address().get(request.url.path)
    if name is None:
        raise NotFound("There is no such file.")
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    return Response(
        _compressed(name) if zipped else _content(name),
        media_type=TYPES[Path(name).suffix],
        headers=HEADERS | ({"content-encoding": "gzip"} if zipped else {}),
    )
