"""The same request as curl, Python and JavaScript; the key stands as $CALLBRIDGE_KEY."""

import shlex
from typing import Any

import orjson

KEY = "CALLBRIDGE_KEY"


def curl(base: str, body: dict[str, Any]) -> str:
    return (
        f"curl {shlex.quote(base + '/v1/tasks')} \\\n"
        f'  -H "Authorization: Bearer ${KEY}" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(_json(body))}"
    )


def python(base: str, body: dict[str, Any]) -> str:
    return (
        "import os\n\nimport httpx\n\n"
        "response = httpx.post(\n"
        f"    {_python(base + '/v1/tasks')},\n"
        f'    headers={{"Authorization": f"Bearer {{os.environ[{KEY!r}]}}"}},\n'
        f"    json={_python(body, 4)},\n"
        ")\n"
        'print(response.json()["id"])'
    )


def javascript(base: str, body: dict[str, Any]) -> str:
    return (
        f"const response = await fetch({_json(base + '/v1/tasks')}, {{\n"
        '  method: "POST",\n'
        "  headers: {\n"
        f"    Authorization: `Bearer ${{process.env.{KEY}}}`,\n"
        '    "Content-Type": "application/json",\n'
        "  },\n"
        f"  body: JSON.stringify({_indented(_json(body), 2)}),\n"
        "});\n"
        "console.log((await response.json()).id);"
    )


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _indented(text: str, spaces: int) -> str:
    return text.replace("\n", "\n" + " " * spaces)


def _python(value: Any, indent: int = 0) -> str:
    """JSON as a Python literal."""
    pad, inner = " " * indent, " " * (indent + 4)
    if isinstance(value, dict) and value:
        lines = "".join(f"{inner}{_python(name)}: {_python(item, indent + 4)},\n" for name, item in value.items())
        return f"{{\n{lines}{pad}}}"
    if isinstance(value, list) and value:
        return f"[\n{''.join(f'{inner}{_python(item, indent + 4)},{chr(10)}' for item in value)}{pad}]"
    if isinstance(value, str):
        # JSON's escapes are Python's too, but for the pairs of surrogates that orjson never writes.
        return orjson.dumps(value).decode()
    return repr(value)
