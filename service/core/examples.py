"""An example of each event, as `ping` sends it and as the documentation shows it."""

from typing import Any

from service.core.times import to_iso

TASK_ID = "tsk_00000000000000000000000000000000"
CREATED = 1_769_860_800_000
PICTURE = "https://example.com/a-little-cat.png"


def example_event(event_id: str, seq: int, event_type: str, at: int) -> dict[str, Any]:
    """The whole event, marked as a test."""
    return {
        "id": event_id,
        "seq": seq,
        "type": event_type,
        "timestamp": to_iso(at),
        "test": True,
        "data": example_data(event_type),
    }


def example_data(event_type: str) -> dict[str, Any]:
    kind, _, move = event_type.partition(".")
    if kind == "task":
        return _task("completed" if move == "stored" else move, stored=move == "stored")
    return _subscription() if kind == "subscription" else {"subscription_id": _subscription()["id"]}


def _task(status: str, stored: bool) -> dict[str, Any]:
    sent = status != "queued"
    finished = status in ("completed", "failed", "canceled")
    return {
        "id": TASK_ID,
        "provider": "piapi",
        "model": "Qubico/flux1-schnell",
        "task_type": "txt2img",
        "status": status,
        "input": {"prompt": "a little cat", "width": 1024, "height": 1024},
        "config": {},
        "metadata": {"order": "A-17"},
        "callback_url": None,
        "output": _output(stored) if status == "completed" else None,
        "error": _error() if status == "failed" else None,
        "usage": None,
        "progress": None,
        "warnings": [],
        "provider_task_id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6" if sent and status != "unconfirmed" else None,
        "provider_status": status if sent and status != "unconfirmed" else None,
        "attempts": 1 if sent else 0,
        "created_at": to_iso(CREATED),
        "updated_at": to_iso(CREATED + 7120),
        "submitted_at": to_iso(CREATED + 300) if sent and status != "unconfirmed" else None,
        "started_at": to_iso(CREATED + 900) if status in ("processing", "completed", "failed") else None,
        "finished_at": to_iso(CREATED + 7120) if finished else None,
        "expires_at": None,
        "links": {"self": f"/v1/tasks/{TASK_ID}", "events": f"/v1/tasks/{TASK_ID}/events"},
    }


def _output(stored: bool) -> dict[str, Any]:
    copy = {
        "status": "stored",
        "url": PICTURE,
        "bytes": 48213,
        "content_type": "image/png",
        "sha256": "0" * 64,
        "error": None,
    }
    file = {"url": PICTURE, "kind": "image", "path": "image_url", "expires_at": None, "copy": copy if stored else None}
    return {"url": PICTURE, "urls": [PICTURE], "text": None, "files": [file], "raw": {"image_url": PICTURE}}


def _error() -> dict[str, Any]:
    return {
        "code": "provider_failed",
        "message": "The provider could not finish the task.",
        "provider_code": "10000",
        "provider_message": "out of memory",
    }


def _subscription() -> dict[str, Any]:
    return {
        "id": "sub_00000000000000000000000000000000",
        "url": "https://example.com/hook",
        "events": ["task.completed", "task.failed", "task.canceled"],
        "filter": {},
        "description": None,
        "headers": [],
        "enabled": False,
        "disabled_reason": "Every delivery failed for 5 days.",
        "failing_since": to_iso(CREATED),
        "created_at": to_iso(CREATED),
        "updated_at": to_iso(CREATED + 432_000_000),
    }
