"""JSON as real servers send it now and then."""

import gzip
from collections.abc import Callable

BOM = b"\xef\xbb\xbf"
NOTICE = b"Warning: Undefined array key 1 in /srv/app/index.php on line 17\n"

# Each takes a JSON object as bytes.
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "bom": lambda body: BOM + body,
    "notice": lambda body: NOTICE + body,
    "trailer": lambda body: body + b"\n<!-- served by node 7 -->",
    "nan": lambda body: body[:-1] + b',"score":NaN,"best":-Infinity}',
    "newline": lambda body: body[:-1] + b',"note":"one line\nand another"}',
    "latin1": lambda body: body[:-1] + b',"note":"caf\xe9"}',
    "surrogate": lambda body: body[:-1] + b',"note":"\\ud83d"}',
    "gzip": gzip.compress,
}


def untidy(way: str, body: bytes) -> bytes:
    return WAYS[way](body) if way else body


def encoding(way: str) -> dict[str, str]:
    """The header that belongs to it."""
    return {"Content-Encoding": "gzip"} if way == "gzip" else {}
