"""What is sent: callbacks in PiAPI's form, submits and GETs, each as the bytes of one HTTP request."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

# Of the same owner: one may see everything, the other what is the owner's.
API_KEY = "bench-api-key"
USER_KEY = "bench-user-key"
# The moves that the two callbacks of a task make.
EVENTS = ("task.processing", "task.completed")
BODY_BYTES = 1536
PROMPT = "a little cat on a windowsill in the morning light, "
# Placeholder for an id in a body that is built once.
ID = "00000000-0000-4000-8000-000000000000"


def provider_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def callback_body(status: str) -> bytes:
    """1.5 KB with ID in it, as PiAPI's unified webhook is printed in its documents."""
    output = {"image_base64": "", "image_url": f"https://img.theapi.app/temp/{ID}.png" if status == "completed" else ""}
    data: dict[str, Any] = {
        "task_id": ID,
        "model": "Qubico/flux1-schnell",
        "task_type": "txt2img",
        "status": status,
        "config": {"service_mode": "public", "webhook_config": {"endpoint": "", "secret": ""}},
        "input": {"prompt": "", "width": 1024, "height": 1024, "steps": 10, "seed": -1},
        "output": output,
        "meta": {
            "created_at": "2026-01-31T12:00:00.719851187Z",
            "started_at": "2026-01-31T12:00:01.891665902Z",
            "ended_at": "2026-01-31T12:00:07.388312371Z",
            "usage": {"type": "point", "frozen": 0, "consume": 20000},
            "is_using_private_pool": False,
        },
        "detail": None,
        "logs": [],
        "error": {"code": 0, "raw_message": "", "message": "", "detail": None},
    }
    document = {"timestamp": 1769860807, "data": data}
    missing = BODY_BYTES - len(orjson.dumps(document))
    data["input"] = {**data["input"], "prompt": (PROMPT * 40)[:missing]}
    return orjson.dumps(document)


def post(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{lines}"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def callbacks(file: Path, first: int, count: int) -> Iterator[list[bytes]]:
    """The two callbacks of each task: processing, then completed. They must be sent in this order."""
    # Read eagerly: the measurement may start with the first one.
    with file.open() as lines:
        return _both_calls(list(islice(lines, first, first + count)))


def _both_calls(lines: list[str]) -> Iterator[list[bytes]]:
    patterns = [callback_body(status) for status in ("processing", "completed")]
    wanted = ID.encode()
    for line in lines:
        path, secret, name = line.split()
        headers = {"x-webhook-secret": secret, "user-agent": "bench"}
        yield [post(path, headers, pattern.replace(wanted, name.encode())) for pattern in patterns]


def submits(count: int, callback_url: str | None = None) -> Iterator[list[bytes]]:
    task = {
        "provider": "piapi",
        "model": "Qubico/flux1-schnell",
        "task_type": "txt2img",
        "input": {"prompt": PROMPT * 4, "width": 1024, "height": 1024},
        "metadata": {"order": "A-17"},
    }
    request = post("/v1/tasks", {"x-api-key": API_KEY}, orjson.dumps(task | {"callback_url": callback_url}))
    for _ in range(count):
        yield [request]


def gets(path: str, count: int) -> Iterator[list[bytes]]:
    request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {USER_KEY}\r\n\r\n".encode()
    for _ in range(count):
        yield [request]
