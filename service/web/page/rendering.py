"""Renders templates. Jinja2 is imported for the first page, to save its memory where nobody opens one."""

from functools import cache
from pathlib import Path
from typing import Any

import orjson
from starlette.responses import HTMLResponse, Response

from service.core.caller import Caller
from service.core.times import from_iso, now_ms, to_iso
from service.web.page import results, words
from service.web.page.assets import asset

FOLDER = Path(__file__).parent / "templates"


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.globals.update(asset=asset, now=now_ms)
    found.filters.update(
        ago=lambda moment: words.ago(moment, now_ms()),
        exact=words.exact,
        iso=to_iso,
        ms=from_iso,
        duration=words.duration,
        clock=words.clock,
        shortened=words.shortened,
        pretty=pretty,
        files=results.files_of,
        first_file=results.first_file,
        text=results.text_of,
    )
    return found


def render(name: str, caller: Caller | None, status: int = 200, **context: Any) -> Response:
    text = _environment().get_template(name).render(caller=caller, **context)
    return HTMLResponse(text, status_code=status)


def pretty(value: Any) -> str:
    """JSON with indents; the template escapes it."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
