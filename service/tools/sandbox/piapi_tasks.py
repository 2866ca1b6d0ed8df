"""A PiAPI task, its JSON, and its callbacks."""

import uuid
from dataclasses import dataclass
from typing import Any

import orjson

from .behaviour import Behaviour
from .callbacks import OutgoingCallback
from .clock import go_time, now_ns
from .ledger import Entry
from .piapi_outputs import blank
from .untidy import encoding, untidy

PRICE = 20_000  # points for one picture
ATTEMPTS = 3
LEGACY = {"processing": "processing\t", "completed": "success"}
FLUX_DEFAULTS = {"negative_prompt": "", "width": 0, "height": 0, "steps": 0}


@dataclass(slots=True)
class PiapiTask:
    id: str
    model: str
    task_type: str
    input: dict[str, Any]
    service_mode: str
    endpoint: str
    secret: str
    behaviour: Behaviour
    entry: Entry
    base_url: str
    created: int
    price: int = PRICE
    status: str = "pending"
    started: int | None = None
    ended: int | None = None
    output: dict[str, Any] | None = None
    error: str | None = None
    reads: int = 0
    # How often its finish was reported without the output.
    empty_reports: int = 0


def shown_input(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """The server adds its defaults and orders the keys anew."""
    defaults = FLUX_DEFAULTS if model.startswith("Qubico/flux1-") else {}
    return dict(sorted({**defaults, **given}.items()))


def view(task: PiapiTask) -> dict[str, Any]:
    output: Any = task.output
    if task.status == "completed" and task.empty_reports < task.behaviour.late_output:
        task.empty_reports += 1
        output = blank(output)
    dropped = task.behaviour.drop_webhook
    webhook = {"endpoint": "" if dropped else task.endpoint, "secret": "" if dropped else task.secret}
    return {
        "task_id": task.id,
        "model": task.model,
        "task_type": task.task_type,
        "status": _spelled(task),
        "config": {"service_mode": task.service_mode, "webhook_config": webhook},
        "input": task.input,
        "output": output,
        "meta": {
            "created_at": go_time(task.created),
            "started_at": go_time(task.started),
            "ended_at": go_time(task.ended),
            "usage": _usage(task),
            "is_using_private_pool": False,
        },
        "detail": None,
        "logs": [],
        "error": {
            "code": 10000 if task.error else 0,
            "raw_message": task.error or "",
            "message": "task failed" if task.error else "",
            "detail": None,
        },
    }


def history_row(task: PiapiTask) -> dict[str, Any]:
    """Field names beside those of the task are as seen in public clients; `thin` has only those."""
    seen = {"task_id": task.id, "task_model": task.model, "action": task.task_type, "created_at": go_time(task.created),
            "status": "finished" if task.status == "completed" else task.status, "usage": task.price,
            "usage_type": "point", "service_mode": task.service_mode}  # fmt: skip
    return seen if task.behaviour.history == "thin" else {**seen, **view(task)}


def callback(task: PiapiTask, data: dict[str, Any], status: str, pause: float) -> OutgoingCallback | None:
    modes = task.behaviour.callback
    if not task.endpoint or task.behaviour.drop_webhook or "none" in modes:
        return None
    headers = {"x-webhook-secret": task.secret} if task.secret and "no_secret" not in modes else {}
    if "bad_secret" in modes:
        headers["x-webhook-secret"] = "not-the-secret-of-this-task"
    if task.behaviour.callback_retry is not None:
        pause = task.behaviour.callback_retry
    headers |= encoding(task.behaviour.json)
    body = untidy(task.behaviour.json, _body(modes, data))
    return OutgoingCallback(task.endpoint, body, status, task.entry, headers, ATTEMPTS, pause, drip="slow" in modes)


def _body(modes: frozenset[str], data: dict[str, Any]) -> bytes:
    if "garbage" in modes:
        return b"<html>not a task</html>"
    if "wrong_id" in modes:
        data = {**data, "task_id": str(uuid.uuid4())}
    if "flat" in modes:
        return orjson.dumps(data)
    if "code_shape" in modes:
        return orjson.dumps({"code": 200, "data": data, "message": "success"})
    return orjson.dumps({"timestamp": now_ns() // 1_000_000_000, "data": data})


def _spelled(task: PiapiTask) -> str:
    if task.behaviour.status is not None and task.ended is not None:
        return task.behaviour.status
    match task.behaviour.spelling:
        case "capital":
            return task.status.capitalize()
        case "legacy":
            return LEGACY.get(task.status, task.status)
    return task.status


def _usage(task: PiapiTask) -> dict[str, Any]:
    is_open = task.status in {"pending", "processing"}
    consumed = task.price if task.status == "completed" else 0
    return {"type": "point", "frozen": task.price if is_open else 0, "consume": consumed}
