"""The files of `static/`, named by their content so that browsers may keep them for ever."""

import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from service.core.errors import NotFound

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
IMPORTED = re.compile(r'(?<=from ")\./([\w-]+\.js)(?=";)')


@cache
def asset(name: str) -> str:
    """The address of a file of `static/`, such as `/static/page.1f0c….css`."""
    stem, _, suffix = name.rpartition(".")
    return f"/static/{stem}.{hashlib.sha256(_content(name)).hexdigest()[:12]}.{suffix}"


@cache
def _content(name: str) -> bytes:
    """Modules import each other by the hashed name: a changed one changes its importers' names too."""
    text = (FOLDER / name).read_text()
    if name.endswith(".js"):
        text = IMPORTED.sub(lambda found: asset(found[1]), text)
    return text.encode()


@cache
def _by_address() -> dict[str, str]:
    return {asset(path.name): path.name for path in FOLDER.iterdir() if path.suffix in TYPES}


async def serve_asset(request: Request) -> Response:
    name = _by_address().get(request.url.path)
    if name is None:
        raise NotFound("There is no such file.")
    return Response(
        _content(name),
        media_type=TYPES[Path(name).suffix],
        headers={"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"},
    )
