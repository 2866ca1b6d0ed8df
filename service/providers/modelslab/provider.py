"""ModelsLab: Enterprise Flux and the v6 image pair. The key travels in the body, errors come with HTTP 200,
and callbacks prove themselves by the token in their address and by `track_id`."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from service.core.errors import Fault, ValidationFailed
from service.core.task import Status, Task, Update
from service.ports import (
    Accepted,
    Answer,
    Callback,
    CallbackRefused,
    ProviderReply,
    ProviderRequest,
    Rejected,
    StreamReader,
    Unclear,
)
from service.providers import known, replies, statuses
from service.providers.modelslab import tasks as modelslab_tasks
from service.providers.redact import Cleaner
from service.wire import schemas

ENTERPRISE = "flux"
V6 = "v6"
SUBMIT = {ENTERPRISE: "/api/v1/enterprise/flux/{}", V6: "/api/v6/images/{}"}
OURS = ("key", "webhook", "track_id")
# Sizes and counts may be strings of digits; their limits are those of numbers.
NUMBERS = ("width", "height", "samples", "strength", "seed", "num_inference_steps", "guidance_scale", "clip_skip")


class ModelsLab:
    name = "modelslab"

    def __init__(self, api_key: str, base_url: str, max_inflight: int) -> None:
        self.max_inflight = max_inflight
        self._key = api_key
        self._base = base_url.rstrip("/")
        self._cleaner = Cleaner(api_key)

    def check(self, task_type: str, model: str, input: dict[str, Any], config: dict[str, Any]) -> list[str]:
        schema = known.schema_of(self.name, family(model), task_type)
        if schema is None:
            takes = " or ".join(known.models(self.name)[family(model)]["task_types"])
            raise _invalid([Fault("/task_type", f"must be {takes}")])
        faults = schemas.faults(schema, _numbers(input), at="/input")
        faults += _model_id_faults(model, input)
        if faults:
            raise _invalid(faults)
        return ["ModelsLab knows no config: it was not sent"] if config else []

    def without_ours(self, input: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Input and config as they may be stored and shown: what is ours to fill, and replaced anyway, is emptied."""
        return {name: "" if name in OURS and value else value for name, value in input.items()}, config

    def streams(self, task: Task) -> bool:
        return False

    def submit_request(self, task: Task, callback: Callback) -> ProviderRequest:
        body = {**task.input, "key": self._key, "webhook": callback.url, "track_id": task.id}
        if family(task.model) == V6 and task.model != V6:
            body["model_id"] = task.model
        return self._post(SUBMIT[family(task.model)].format(quote(task.task_type, safe="")), body)

    def read_answer(self, task: Task, callback: Callback, reply: ProviderReply) -> Answer:
        document = replies.json_object(reply.body)
        if reply.status == 429 or (document is not None and modelslab_tasks.is_busy(document)):
            return replies.busy(reply, document)
        if document is not None and (answer := self._read_document(reply, document)):
            return answer
        if 400 <= reply.status < 500:
            return self._rejected(reply, reply.status)
        return replies.unclear("ModelsLab", reply.status)

    def authenticate(self, headers: Mapping[bytes, bytes], secrets: Sequence[str]) -> None:
        """ModelsLab sends nothing that could be checked here; `read_callback` checks `track_id`."""

    def read_callback(self, task_id: str, body: bytes) -> Update:
        document = replies.json_object(body)
        if document is None or not modelslab_tasks.is_task(document):
            raise CallbackRefused(400, "malformed", "The body is no JSON object with a task in it")
        given = document.get("track_id")
        given = str(given) if isinstance(given, int | str) else ""
        if not hmac.compare_digest(given.encode(errors="replace"), task_id.encode()):
            raise CallbackRefused(401, "bad_track_id", "track_id is missing or not the one that was sent")
        return modelslab_tasks.read(document, self._cleaner)

    def fetch_request(self, task: Task) -> ProviderRequest | None:
        """At the address of the task's own family: `fetch_result` of an answer may point anywhere."""
        if not task.provider_task_id:
            return None
        path = SUBMIT[family(task.model)].format(f"fetch/{quote(task.provider_task_id, safe='')}")
        return self._post(path, {"key": self._key})

    def read_fetch(self, task: Task, reply: ProviderReply) -> Update | None:
        document = replies.json_object(reply.body) if reply.status == 200 else None
        if document is None or not modelslab_tasks.is_about_task(document):
            return None
        return modelslab_tasks.read(document, self._cleaner)

    def cancel_request(self, task: Task) -> ProviderRequest | None:
        return None

    def read_cancel(self, task: Task, reply: ProviderReply) -> str | None:
        return "ModelsLab cannot cancel a task"

    def history_request(self, task: Task, page: int) -> ProviderRequest | None:
        return None

    def find_in_history(self, task: Task, callback: Callback, reply: ProviderReply) -> Update | None:
        return None

    def stream_reader(self, task: Task) -> StreamReader:
        raise NotImplementedError("ModelsLab has no streams")

    def _post(self, path: str, body: dict[str, Any]) -> ProviderRequest:
        return ProviderRequest("POST", self._base + path, {"Content-Type": "application/json"}, orjson.dumps(body))

    def _read_document(self, reply: ProviderReply, document: dict[str, Any]) -> Answer | None:
        """The answer as far as the body itself tells; None when only the HTTP status is left to go by."""
        update = modelslab_tasks.read(document, self._cleaner)
        word = document.get("status")
        if statuses.status_of(word) is Status.FAILED and update.error is not None:
            refused = isinstance(word, str) and word.strip().lower() == "error"
            return self._rejected(reply, reply.status) if refused else Rejected(update.error)
        if reply.status >= 300:
            return None
        if update.status is not None:
            return Accepted(update)
        if update.provider_task_id is not None:
            return Accepted(modelslab_tasks.submitted(update))
        return Unclear("ModelsLab answered without a status and without an id")

    def _rejected(self, reply: ProviderReply, status: int) -> Rejected:
        message = replies.message_of(reply, self._cleaner)
        meant = status if 400 <= status < 500 else modelslab_tasks.code_of(message)
        return replies.rejected("ModelsLab", "MODELSLAB_API_KEY", meant, message, status if status >= 400 else None)


def family(model: str) -> str:
    """`flux` is the Enterprise server; `v6` and every other name is the v6 API, where the name is `model_id`."""
    return ENTERPRISE if model == ENTERPRISE else V6


def _invalid(faults: list[Fault]) -> ValidationFailed:
    return ValidationFailed("The task does not follow the rules of ModelsLab; see `errors`", faults=tuple(faults))


def _model_id_faults(model: str, input: dict[str, Any]) -> list[Fault]:
    given = input.get("model_id")
    if family(model) == ENTERPRISE:
        return []
    if model == V6:
        return [] if given else [Fault("/input/model_id", "is required with model v6; or give the id as `model`")]
    return [] if given in (None, "", model) else [Fault("/input/model_id", "must be empty or the same as `model`")]


def _numbers(input: dict[str, Any]) -> dict[str, Any]:
    """The input with its strings of digits as numbers, to be measured; it is sent as it came."""
    return {name: _number(value) if name in NUMBERS else value for name, value in input.items()}


def _number(value: Any) -> Any:
    if not isinstance(value, str) or not value.isascii() or len(value) > 20:
        return value
    if value.isdigit():
        return int(value)
    whole, _, rest = value.partition(".")
    return float(value) if rest.isdigit() and (whole.isdigit() or not whole) else value
